"""What `ng_prepare_data` says of data files and makes of them, and when it refuses to."""

import json
from pathlib import Path

import pytest

from nemo_gym_lite.datasets.conflicts import differences
from tests.cli.conftest import PARAMS, read_lines, row

CONFIG = """
    tea:
      resources_servers:
        tea: {{entrypoint: app.py, domain: other}}
    tea_agent:
      responses_api_agents:
        simple_agent:
          entrypoint: app.py
          resources_server: {{type: resources_servers, name: tea}}
          model_server: {{type: responses_api_models, name: policy_model}}
          datasets:
          {}
"""
EXAMPLES = "- {name: few, type: example, jsonl_fpath: data/few.jsonl}"
TRAIN = "- {name: many, type: train, jsonl_fpath: data/many.jsonl, license: MIT, num_repeats: 2}"
ROWS = [row(answer="green", weight=2, tags=["a", "b"]), row(answer="green", weight=4.5, done=True), row(answer="black")]


@pytest.fixture
def prepare(write, command):
    """Prepares data with a configuration whose agent has these data sets."""

    def run(*datasets, mode="example_validation", options=()):
        write("tea.yaml", CONFIG.format("\n          ".join(datasets or [EXAMPLES])))
        argv = ["+config_paths=[tea.yaml]", "+output_dirpath=out", f"+mode={mode}", *options]
        return command("prepare_data", *argv)

    return run


def metrics(path="data/few_metrics.json"):
    return json.loads(Path(path).read_text())


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_rows_are_written_with_their_agent_beside_the_data_and_as_a_whole(write, prepare):
    write("data/few.jsonl", ROWS)

    ended = prepare()

    assert ended.code == 0, ended.err
    agent = {"type": "responses_api_agents", "name": "tea_agent"}
    assert read_lines("data/few_prepare.jsonl") == [{**each, "agent_ref": agent} for each in ROWS]
    assert read_lines("out/example.jsonl") == read_lines("data/few_prepare.jsonl")
    assert "out/example.jsonl" in ended.out


def test_what_a_file_holds_is_counted(write, prepare):
    tool = {"type": "function", "name": "t", "parameters": {}}
    asked = {"input": [*PARAMS["input"], {"role": "system", "content": "x"}, *PARAMS["input"]], "temperature": 0.5}
    write("data/few.jsonl", [*ROWS, {"responses_create_params": asked | {"tools": [tool, tool]}}])

    assert prepare().code == 0

    told = metrics()
    assert (told["name"], told["type"], told["num_repeats"]) == ("few", "example", 1)
    assert told["Number of examples"] == 4
    assert told["Number of turns"] == spread(4, 1.25, 1, 2, 0.5)
    assert told["Number of tools"] == spread(1, 2, 2, 2, 0)
    assert told["Temperature"] == spread(1, 0.5, 0.5, 0.5, 0)
    assert told["Json-dumped number of words (proxy for token count)"]["Min"] == 6
    assert told["answer"] == {"unique_count": 2, "total_count": 3}
    assert told["tags"] == {"unique_count": 2, "total_count": 2}
    assert told["weight"] == spread(2, 3.25, 2, 4.5, 1.77)
    assert told["done"] == spread(1, 1, 1, 1, 0)


def spread(count, mean, low, high, deviation):
    return {
        "Total # non-null values": count,
        "Average": mean,
        "Min": low,
        "Max": high,
        "Standard deviation": deviation,
    }


def test_repeats_are_written_one_after_the_other_and_counted(write, prepare):
    write("data/many.jsonl", ROWS[:2])

    assert prepare(TRAIN, mode="train_preparation").code == 0

    assert [each["weight"] for each in read_lines("out/train.jsonl")] == [2, 2, 4.5, 4.5]
    assert metrics("out/train_metrics.json")["Number of examples"] == 4
    assert metrics("out/train_metrics.json")["weight"] == spread(4, 3.25, 2, 4.5, 1.44)


def test_files_of_one_type_become_one_and_those_of_other_modes_are_left_alone(write, prepare, folder):
    write("data/few.jsonl", ROWS)
    write("data/many.jsonl", ROWS[:1])
    write("data/more.jsonl", ROWS[2:])
    more = "- {name: more, type: train, jsonl_fpath: data/more.jsonl, license: MIT}"
    held_out = "- {name: held_out, type: validation, jsonl_fpath: data/more.jsonl, license: MIT}"

    assert prepare(EXAMPLES, TRAIN, more, held_out, mode="train_preparation").code == 0

    assert [each["answer"] for each in read_lines("out/train.jsonl")] == ["green", "green", "black"]
    assert metrics("out/train_metrics.json")["answer"] == {"unique_count": 2, "total_count": 3}
    assert len(read_lines("out/validation.jsonl")) == 1
    assert "data/few_prepare.jsonl" not in files(folder)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "a JSON object is expected, not list"),
        ({"answer": 3}, "`responses_create_params` is missing"),
        ({"responses_create_params": {}}, "responses_create_params.input: field required"),
        ({"responses_create_params": {"input": ""}}, "responses_create_params.input is empty"),
        ({"responses_create_params": PARAMS | {"temprature": 1}}, "responses_create_params.temprature"),
        (
            {"responses_create_params": {"input": [{"role": "usr", "content": "?"}]}},
            "responses_create_params.input.list.0.easy.role",
        ),
    ],
)
def test_an_invalid_row_is_told_with_file_and_line_and_nothing_is_written(write, prepare, folder, line, complaint):
    write("data/few.jsonl", [ROWS[0], "", line])

    ended = prepare()

    assert ended.code == 2
    assert f"{folder}/data/few.jsonl, line 3: {complaint}" in ended.err.replace("\n", " ")
    assert "+drop_invalid=true" in ended.err
    assert files(folder) == {"tea.yaml", "data/few.jsonl"}


def test_invalid_rows_are_left_out_if_asked_and_told_all_the_same(write, prepare):
    write("data/few.jsonl", [*["{"] * 15, *ROWS])

    ended = prepare(options=["+drop_invalid=true"])

    assert ended.code == 0
    assert "few.jsonl, line 10: not JSON" in ended.err
    assert "and 5 more" in ended.err
    assert len(read_lines("out/example.jsonl")) == metrics()["Number of examples"] == 3


def test_bytes_that_are_no_text_do_not_reach_the_terminal(folder, write, prepare):
    write("data/few.jsonl", ROWS)
    (folder / "data/few.jsonl").write_bytes(b"\x1b[31m\x07\xff\n")

    ended = prepare()

    assert ended.code == 2
    assert "few.jsonl, line 1: not JSON" in ended.err
    assert not {"\x1b", "\x07"} & set(ended.err)


def test_a_folder_that_cannot_be_made_is_told(write, command):
    write("tea.yaml", CONFIG.format(EXAMPLES))
    write("data/few.jsonl", ROWS)
    write("taken", "a file")

    ended = command("prepare_data", "+config_paths=[tea.yaml]", "+mode=example_validation", "+output_dirpath=taken/out")

    assert ended.code == 1
    assert "error: cannot write taken/out/" in ended.err


def test_a_file_of_invalid_rows_only_is_refused_even_then(write, prepare):
    write("data/few.jsonl", ["{"])
    assert "has no valid row" in prepare(options=["+drop_invalid=true"]).err


def test_the_same_data_is_prepared_again_without_touching_the_metrics(write, prepare):
    write("data/few.jsonl", ROWS)
    prepare()
    before = Path("data/few_metrics.json").stat()

    assert prepare().code == 0
    assert Path("data/few_metrics.json").stat() == before


def test_other_data_than_the_metrics_say_is_refused_until_it_is_meant(write, prepare, folder):
    write("data/few.jsonl", ROWS)
    prepare()
    write("data/few.jsonl", ROWS[:2])

    ended = prepare()

    assert ended.code == 2
    assert "Number of examples: 3 -> 2" in ended.err
    assert metrics()["Number of examples"] == 3
    assert metrics("data/few_metrics_conflict.json")["Number of examples"] == 2
    assert len(read_lines("out/example.jsonl")) == 3

    assert prepare(options=["+overwrite_metrics_conflicts=true"]).code == 0
    assert metrics()["Number of examples"] == 2
    assert prepare().code == 0


def test_metrics_may_gain_keys_and_round_differently_and_list_in_another_order(write, prepare):
    write("data/few.jsonl", ROWS)
    prepare()
    earlier = metrics()
    del earlier["tags"]
    earlier["weight"]["Average"] += 0.004
    write("data/few_metrics.json", json.dumps(earlier))

    assert prepare().code == 0


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ([1, 2, {"a": [3]}], [{"a": [3]}, 1, 2], True),
        ([1, 1, 2], [1, 2, 2], False),
        ([1], [1, 1], False),
        (0.1234, 0.1238, True),
        (0.1234, 0.1244, False),
        (100.0, 100.01, False),
        ({"a": {"b": 1}}, {"a": {}}, False),
        ("x", None, False),
    ],
)
def test_what_counts_as_a_conflict(before, now, same):
    assert (not list(differences(before, now, "here"))) == same


def test_prompts_of_benchmarks_are_applied_and_judged_row_by_row(write, prepare):
    write("p.yaml", "user: What is {word}?")
    write("data/words.jsonl", [{"word": "tea"}, {"wrd": "tee"}, row(word="filled")])
    words = "- {name: w, type: benchmark, jsonl_fpath: data/words.jsonl, prepare_script: p.py, prompt_config: p.yaml}"

    ended = prepare(words, mode="train_preparation")
    assert ended.code == 2
    assert "line 2: the prompt does not fit" in ended.err
    assert "line 3: its data set has a prompt_config, and it has" in ended.err

    assert prepare(words, mode="train_preparation", options=["+drop_invalid=true"]).code == 0
    [made] = read_lines("out/benchmark.jsonl")
    assert made["responses_create_params"]["input"] == [{"role": "user", "content": "What is tea?"}]


def test_files_that_are_not_there_are_all_told_with_where_they_come_from(prepare):
    hub = "- {name: hub, type: train, jsonl_fpath: hub.jsonl, license: MIT, source: {type: huggingface, repo_id: a/b}}"

    ended = prepare(TRAIN, hub, mode="train_preparation", options=["+should_download=true"])

    assert ended.code == 2
    assert "data/many.jsonl (many): the configuration does not say" in ended.err
    assert "hub.jsonl (hub): on Hugging Face as the data set a/b" in ended.err


def test_a_mode_without_data_names_what_there_is(write, prepare):
    write("data/few.jsonl", ROWS)

    ended = prepare(mode="train_preparation")

    assert "tea_agent: few (example)" in ended.err
    assert "+mode=example_validation" in ended.err


def test_nothing_is_written_into_the_folders_that_the_data_was_found_in(write, command, folder, monkeypatch):
    write("there/tea.yaml", CONFIG.format(EXAMPLES))
    write("there/data/few.jsonl", ROWS)
    write("there/data/few_metrics.json", json.dumps({"Number of examples": 7}))
    before = files(folder)
    monkeypatch.setenv("NEMO_GYM_EXTRA_ROOTS", str(folder / "there"))
    argv = ["+config_paths=[tea.yaml]", "+output_dirpath=out", "+mode=example_validation"]

    assert "Number of examples: 7 -> 3" in command("prepare_data", *argv).err
    assert command("prepare_data", *argv, "+overwrite_metrics_conflicts=true").code == 0

    made = {"data/few_prepare.jsonl", "data/few_metrics.json", "out/example.jsonl", "out/example_metrics.json"}
    assert files(folder) == before | made
