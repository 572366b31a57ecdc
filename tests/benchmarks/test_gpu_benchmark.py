"""The GPU benchmark's table says what was measured and what was not, with the right ratios, wherever it runs."""

import importlib
import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.gpu.figures import PLACEMENTS, TITLES, Figure, Problem, Report, goals, page
from benchmarks.gpu.probe import one_token_words
from benchmarks.gpu.programs import Program, variables
from benchmarks.gpu.run import main
from benchmarks.gpu.servers import total
from benchmarks.gpu.settings import engine_arguments, half, parse
from benchmarks.gpu.shapes import write_model
from benchmarks.gpu.workload import Prompts, requests_for, write_tasks
from benchmarks.soak.engines import EngineProcess

# requests/s of one H200 with an 8B shape, 300 prompt and 256 output tokens
RECORDED = {
    ("offline", 8): 5.96,
    ("offline", 256): 51.5,
    ("offline", 1024): 53.9,
    ("bare", 8): 5.86,
    ("bare", 256): 49.2,
    ("bare", 1024): 52.7,
    ("near", 8): 5.80,
    ("near", 256): 48.9,
    ("near", 1024): 50.5,
    ("engine", 256): 48.0,
}
REPEATED = {"prefix-random": (29.0, 0.744), "prefix-task": (34.5, 0.868)}


def figure(way, in_flight, per_s, **more):
    requests = requests_for(in_flight, None)
    return Figure(way, in_flight, requests, requests / per_s, 300 * requests, 256 * requests, **more)


@pytest.fixture
def report():
    figures = [figure(way, size, per_s) for (way, size), per_s in RECORDED.items()]
    figures += [figure(way, 256, per_s, hit_rate=rate) for way, (per_s, rate) in REPEATED.items()]
    return Report({"vLLM": "0.26.0", "GPUs": "1 x H200"}, figures)


def lives(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def lines_with(text, *parts):
    return [line for line in text.splitlines() if all(part in line for part in parts)]


def test_the_table_has_a_line_for_each_way_with_its_ratios(report):
    [line] = lines_with(page(report), "| 256 |", TITLES["near"])

    assert line == f"| 256 | {TITLES['near']} | 48.90 | 12,518 | - | 99.4% | 95.0% |"


def test_what_was_not_measured_has_no_line_and_no_ratio(report):
    text = page(report)

    assert not lines_with(text, "| 8 |", TITLES["engine"])
    [line] = lines_with(page(Report({}, [figure("near", 8, 5.8)])), TITLES["near"])
    assert line.endswith("| - | - |")


def test_what_failed_is_a_line_with_its_reason(report):
    report.problems += [Problem("engine", 1024, "out of memory | 2 GiB"), Problem("served", None, "no port was free")]
    text = page(report)

    assert lines_with(text, "| 1,024 |", TITLES["engine"], "not measured: out of memory / 2 GiB")
    assert lines_with(text, "| all |", TITLES["served"], "not measured: no port was free")
    assert len({line.count("|") for line in lines_with(text.partition("Two servers")[0], "|")}) == 1


def test_placements_of_repeats_are_held_against_any_server(report):
    [line] = lines_with(page(report), PLACEMENTS["prefix-task"])

    assert line == f"| 256 | {PLACEMENTS['prefix-task']} | 34.50 | 86.8% | 119.0% |"


def test_a_goal_is_judged_by_its_worst_number_in_flight(report):
    near, engine = goals(report)

    assert "at least 95.8%" in near
    assert "at 1,024" in near
    assert near.endswith("goal 97% MISSED")
    assert "at least 93.2%" in engine
    assert engine.endswith("goal 90% met")


def test_a_machine_without_a_gpu_is_held_to_no_goal(report):
    assert "goal" in page(report)
    report.about["GPUs"] = "none"
    assert "goal" not in page(report)


def test_of_several_rounds_the_median_counts():
    rounds = [figure("near", 8, per_s) for per_s in (5.0, 1.0, 4.9)]
    report = Report({}, [*rounds, figure("bare", 8, 5.0)])

    assert report.middle("near", 8).per_s == pytest.approx(4.9)
    assert report.ratio("near", "bare", 8) == pytest.approx(0.98)


def test_a_report_outlives_its_run_and_steps_are_measured_anew(report, tmp_path):
    report.problems.append(Problem("near", None, "interrupted"))
    report.write(tmp_path / "results/gpu.json")
    again = Report.read(tmp_path / "results/gpu.json")
    assert again == report

    again.forget(["near"])
    assert not again.problems
    assert again.sizes(["near"]) == []
    assert again.sizes(["bare"]) == [8, 256, 1024]


def test_client_cpu_is_told_for_each_request():
    costly = figure("bare", 8, 5.0, cpu_s=0.032)

    assert costly.cpu_ms == pytest.approx(0.5)
    assert lines_with(page(Report({}, [costly])), "0.50 ms")


def test_every_module_is_imported_without_vllm():
    for path in (Path(__file__).parents[2] / "benchmarks/gpu").glob("*.py"):
        importlib.import_module(f"benchmarks.gpu.{path.stem}")
    assert not {"vllm", "torch", "transformers"} & set(sys.modules)


def test_the_engine_has_room_for_what_is_asked_and_the_user_has_the_last_word():
    options = parse(["--in-flight", "8", "512", "--prompt-tokens", "3000", "--engine-args", '{"dtype": "float32"}'])
    arguments = engine_arguments(options)

    assert arguments["max_num_seqs"] == 512
    assert arguments["max_model_len"] >= 3256
    assert arguments["dtype"] == "float32"
    assert arguments["load_format"] == "dummy"
    assert "load_format" not in engine_arguments(parse(["--model", "some/model"]))


def test_paths_hold_in_other_folders_and_names_of_the_hub_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("python").touch(mode=0o755)
    Path("checkpoint").mkdir()
    options = parse(["--python", "./python", "--model", "checkpoint"])

    assert (options.python, options.model) == (str(tmp_path / "python"), str(tmp_path / "checkpoint"))
    assert parse(["--model", "some/model"]).model == "some/model"


def test_two_servers_share_the_memory():
    assert half({"gpu_memory_utilization": 0.9})["gpu_memory_utilization"] == pytest.approx(0.45)
    in_bytes = engine_arguments(parse(["--engine-args", '{"kv_cache_memory_bytes": 1024}']))
    assert half(in_bytes)["kv_cache_memory_bytes"] == 512
    assert "gpu_memory_utilization" not in in_bytes


def test_a_step_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse(["--steps", "bare,nearly"])
    assert "nearly" in capsys.readouterr().err


def test_a_shape_comes_with_a_tokenizer_of_its_whole_vocabulary(tmp_path):
    folder = write_model("tiny", tmp_path / "tiny")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]

    assert len(vocabulary) == json.loads((folder / "config.json").read_text())["vocab_size"]
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))


def test_prompts_have_the_tokens_that_are_asked_for_and_are_new_each_time(tmp_path):
    prompts = Prompts(["one", "two", "three", "four"], template_tokens=8)
    texts = [prompts.text(100) for _ in range(50)]
    rows = [json.loads(line) for line in write_tasks(tmp_path / "tasks", texts, 16).read_text().splitlines()]

    assert len(set(texts)) == 50
    assert {len(text.split()) for text in texts} == {92}
    assert {row["responses_create_params"]["max_output_tokens"] for row in rows} == {16}


def test_words_are_those_that_stay_one_token_in_a_text():
    class Tokenizer:
        def get_vocab(self):
            return {"\u0120good": 0, "\u0120torn": 1, "part": 2, "\u0120Upper": 3, "\u2581fine": 4, "\u0120x": 5}

        def encode(self, text, *, add_special_tokens):
            assert not add_special_tokens
            return [part for word in text.split() for part in (["to", "rn"] if word == "torn" else [word])]

    assert one_token_words(Tokenizer()) == ["good", "fine"]


def test_counts_of_all_engines_of_a_server_are_added_up():
    name = "vllm:request_success_total"
    text = f'{name}{{finished_reason="stop"}} 3.0\n{name}{{finished_reason="length"}} 4.0\n{name}_created 9.0'

    assert total(text, "request_success_total") == 7
    assert total(text, "prefix_cache_hits_total") == 0


def test_a_program_is_ended_with_all_that_it_started(tmp_path):
    starts_another = (
        "import subprocess, sys, time\nsubprocess.Popen(['sleep', '97']); print('up', flush=True); time.sleep(98)"
    )
    program = Program([sys.executable, "-c", starts_another], tmp_path, "both", variables())
    while "up" not in program.log.read_text():
        time.sleep(0.02)
    children = psutil.Process(program._child.pid).children(recursive=True)
    assert len(children) >= 2

    with pytest.raises(RuntimeError, match="not finished within"):
        program.end(0.1)
    give_up_s = time.monotonic() + 5
    while any(map(lives, children)):
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


def test_a_program_that_fails_tells_its_error(tmp_path):
    program = Program([sys.executable, "-c", "print(1); raise ValueError('no room')"], tmp_path, "bad", variables())

    with pytest.raises(RuntimeError, match="ended with 1: ValueError: no room"):
        program.end(20)


def test_without_vllm_the_rest_is_measured_and_the_table_says_why(tmp_path, capsys):
    out, engine = tmp_path / "gpu.json", EngineProcess(answer_tokens=(60, 80))
    engine.start()
    try:
        words = ["--base-url", f"{engine.url}/v1", "--shape", "tiny", "--in-flight", "4", "--waves", "2"]
        code = main([*words, "--output-tokens", "8", "--steps", "offline,bare,near,engine,prefix", "--out", str(out)])
    finally:
        engine.kill()
    text = capsys.readouterr().out
    report = Report.read(out)

    assert code == 1
    assert [each.way for each in report.figures] == ["bare", "near"]
    assert {each.output_tokens for each in report.figures} == {64}
    assert {each.way for each in report.problems} == {"offline", "engine", *PLACEMENTS}
    assert lines_with(text, TITLES["offline"], "No module named 'vllm'")
    assert lines_with(text, PLACEMENTS["prefix-task"], "it takes two servers")
