"""What a line may rely on once it was written, and what happens to one that was not written whole."""

import multiprocessing
import resource
import signal

import orjson
import pytest

from nemo_gym_lite.errors import OutputError
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.resume import scan
from nemo_gym_lite.rollouts.sink import JsonlFile, Sink


def row(number, **fields):
    labels = {"_ng_key": f"{number:032x}", "_ng_rollout_index": 0, "_ng_task_index": number, "agent_ref": {"name": "a"}}
    return {**labels, "text": "é" * 40, **fields}


def line(number):
    return orjson.dumps(row(number), option=orjson.OPT_APPEND_NEWLINE)


def lines(path):
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_truncation_at_every_byte_of_the_last_two_rows_costs_at_most_those_rows(tmp_path):
    whole = b"".join(line(n) for n in range(4))
    size = len(whole) // 4
    path = tmp_path / "out.jsonl"
    for cut in range(2 * size, len(whole) + 1):
        path.write_bytes(whole[:cut])
        sink = JsonlFile(path)
        found = len(lines(path))
        assert found == (cut + 1) // size  # a row without its newline is whole
        assert sink.torn_bytes == (0 if (cut + 1) % size in {0, 1} else cut % size)
        sink.write(line(9))
        sink.close()
        assert lines(path) == [row(n) for n in range(found)] + [row(9)]


def test_a_tail_of_zero_bytes_as_a_crashed_host_leaves_it_is_cut_off(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(orjson.dumps(row(1)) + b"\n" + bytes(200_000))

    JsonlFile(path).close()

    assert lines(path) == [row(1)]


def test_a_file_that_is_one_torn_line_becomes_empty(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"a": "' + b"x" * 100_000)

    sink = JsonlFile(path)

    assert path.read_bytes() == b""
    sink.close()


def test_a_full_disk_leaves_whole_lines_and_a_clear_error(tmp_path):
    def write_until_full(path, answers):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        sink = JsonlFile(path)
        try:
            for number in range(1000):
                sink.write(line(number))
        except OutputError as error:
            answers.put(str(error))

    answers = multiprocessing.get_context("fork").Queue()
    path = tmp_path / "out.jsonl"
    child = multiprocessing.get_context("fork").Process(target=write_until_full, args=(path, answers))
    child.start()
    message = answers.get(timeout=20)
    child.join()
    answers.close()
    answers.join_thread()

    assert "cannot write" in message
    assert "hint: make room" in message
    assert lines(path) == [row(number) for number in range(len(lines(path)))]
    assert len(lines(path)) > 10


def test_two_collectors_cannot_write_one_output(tmp_path):
    sink = Sink(OutputFiles(tmp_path / "out.jsonl"))
    with pytest.raises(OutputError, match="another collector"):
        Sink(OutputFiles(tmp_path / "out.jsonl"))
    sink.close()
    Sink(OutputFiles(tmp_path / "out.jsonl")).close()


def test_the_lock_of_a_killed_collector_is_taken_over_at_once(tmp_path):
    files = OutputFiles(tmp_path / "out.jsonl")

    def hold(said):
        sink = Sink(files)
        sink.rollouts.write(line(1))
        said.send("locked")
        signal.pause()

    here, there = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=hold, args=(there,))
    child.start()
    assert here.recv() == "locked"
    with pytest.raises(OutputError, match="another collector"):
        Sink(files)
    child.kill()
    child.join()

    sink = Sink(files)
    sink.rollouts.write(line(2))
    sink.close()
    assert lines(files.rollouts) == [row(1), row(2)]


def test_a_file_without_a_line_does_not_stay(tmp_path):
    files = OutputFiles(tmp_path / "out.jsonl")
    sink = Sink(files)
    sink.rollouts.write(line(1))
    sink.close()

    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot open"):
        Sink(OutputFiles(tmp_path / "file" / "out.jsonl"))


def test_a_scan_counts_what_is_there_once_and_skips_what_is_not_json(tmp_path):
    files = OutputFiles(tmp_path / "out.jsonl")
    good = [orjson.dumps(row(n)) for n in (1, 2, 1)]
    files.rollouts.write_bytes(b"\n".join([good[0], b"{torn", b"[1]", good[1], good[2], b""]))
    files.failures.write_bytes(orjson.dumps(row(3)) + b"\n" + orjson.dumps(row(4, _ng_failure_terminal=True)) + b"\n")
    seen = []

    done = scan(files, seen.append)

    assert (done.rows, done.malformed) == (2, 2)
    assert [found["_ng_key"][-1] for found in seen] == ["1", "2"]


@pytest.mark.parametrize("foreign", [{"_ng_key": None}, {"_ng_task_index": "1"}, {"agent_ref": "a"}])
def test_an_output_of_another_program_is_refused_and_left_alone(tmp_path, foreign):
    files = OutputFiles(tmp_path / "out.jsonl")
    content = orjson.dumps(row(1, **foreign)) + b"\n"
    files.rollouts.write_bytes(content)

    with pytest.raises(OutputError, match="another program"):
        scan(files, lambda _: None)

    assert files.rollouts.read_bytes() == content


def test_a_last_line_that_was_never_a_row_is_not_cut_off(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("my notes, without an end of line")

    with pytest.raises(OutputError, match="ends with what is no row: b'my notes"):
        JsonlFile(path)

    assert path.read_text() == "my notes, without an end of line"
