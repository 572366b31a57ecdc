"""Where exported rows go: JSON lines, or Parquet where that is asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import orjson

from nemo_gym_lite.clients import Json
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.rollouts.files import replacing

Write = Callable[[Json], object]


@contextmanager
def open_sink(path: Path, kind: str) -> Iterator[Write]:
    """A function that writes rows; the file takes its name when the block ends well. Parquet gets columns by `kind`.

    Raises:
        ConfigError: The ending is another, or pyarrow is missing.
        OutputError: The file cannot be written.
    """
    if path.suffix not in {".jsonl", ".parquet"}:
        raise ConfigError(f"output_fpath: {path} ends neither in .jsonl nor in .parquet")
    if path.suffix == ".jsonl":
        with replacing(path) as file:
            yield lambda row: file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        return
    try:
        parquet = import_module("nemo_gym_lite.training.parquet")
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise ConfigError(
            f"output_fpath: {path}: Parquet needs pyarrow, which is not installed",
            "install it with `pip install 'nemo-gym-lite[parquet]'`, or write a .jsonl file",
        ) from error
    with replacing(path) as file, parquet.writer(file, kind) as write:
        yield write
