"""How a job says how far it is, and why it ended: on a terminal, and in its log file."""

import atexit
import faulthandler
import gc
import io
import logging
import re
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager

import pytest
from conftest import REPOSITORY

from memorization.storage.checkpoint_files import remove_checkpoints
from memorization.storage.log import cpu_time_logged, logged_cpu_time, start_log
from memorization.training.progress import SECONDS_BETWEEN_LINES, progress_to

NAME = "gpt_freeze_none_seed_0"


class Screen(io.StringIO):
    """What is printed, to a terminal or not."""

    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


class Clock:
    """The time that the progress reads, in seconds, so that no test takes any."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("tqdm.std.time", clock)
    return clock


def show_progress(monkeypatch, clock, *, is_terminal, number, seconds_an_iteration):
    """Go through ``number`` iterations: what the screen and the log have then, and the iterations."""
    screen, log, iterations = Screen(is_terminal), io.StringIO(), []
    monkeypatch.setattr(sys, "stderr", screen)
    for iteration in progress_to(log, NAME)(range(number)):
        iterations.append(iteration)
        clock.now += seconds_an_iteration
    return screen.getvalue(), log.getvalue(), iterations


def test_a_terminal_shows_a_bar_with_the_name_of_the_run_and_the_log_has_none(monkeypatch, clock):
    screen, log, _ = show_progress(monkeypatch, clock, is_terminal=True, number=4, seconds_an_iteration=20.25)
    states = [state for state in screen.split("\r") if state.strip()]
    assert len(states) > 1
    assert all(state.startswith(f"{NAME}: ") for state in states)
    assert "1/4 [00:20<01:00" in states[1]
    assert log == ""


def test_the_bar_leaves_the_terminal_as_it_was(monkeypatch, clock):
    screen, _, _ = show_progress(monkeypatch, clock, is_terminal=True, number=4, seconds_an_iteration=20.25)
    assert "\n" not in screen
    *_, last, end = screen.split("\r")
    assert last.strip() == "" and end == ""


def test_without_a_terminal_the_log_has_plain_lines_with_the_time_that_is_left(monkeypatch, clock):
    screen, log, _ = show_progress(monkeypatch, clock, is_terminal=False, number=4, seconds_an_iteration=20.25)
    assert screen == ""
    assert log.isascii()
    assert log.endswith("\n")
    # Elapsed and left: after the first iteration, of 20.25 s, three are left.
    expected = ["0/4 [00:00<?", "1/4 [00:20<01:00", "2/4 [00:40<00:40", "3/4 [01:00<00:20", "4/4 [01:21<00:00"]
    lines = [line for line in log.splitlines() if line]
    shown = [re.search(r"\d/4 \[[\d:]+<[\d:?]+", line).group() for line in lines]
    # The end may be said twice, when it is reached and when the progress closes.
    assert list(dict.fromkeys(shown)) == expected


def test_the_log_has_no_carriage_return(monkeypatch, clock):
    _, log, _ = show_progress(monkeypatch, clock, is_terminal=False, number=50, seconds_an_iteration=3)
    assert "50/50" in log
    assert "\r" not in log
    assert "\x1b" not in log


def test_lines_in_the_log_are_seconds_apart_however_fast_the_iterations(monkeypatch, clock):
    number = 4000
    _, log, _ = show_progress(monkeypatch, clock, is_terminal=False, number=number, seconds_an_iteration=0.02)
    lines = [line for line in log.splitlines() if line]
    seconds = 0.02 * number
    # One at the start and one at the end beside those between.
    assert 2 < len(lines) <= seconds / SECONDS_BETWEEN_LINES + 2


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_progress_passes_every_iteration_on(is_terminal, monkeypatch, clock):
    *_, iterations = show_progress(
        monkeypatch, clock, is_terminal=is_terminal, number=30, seconds_an_iteration=0.5
    )
    assert iterations == list(range(30))


@contextmanager
def started_log(path):
    """Call `start_log` as a job does, and put back afterwards what it changes for the whole process."""
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level, thresholds = root.handlers[:], root.level, gc.get_threshold()
    # A job starts without handlers; with the ones of pytest the logging would be left as it is.
    root.handlers[:] = []
    log = start_log(path)
    try:
        yield log
    finally:
        sys.excepthook = hook
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
        logging.raiseExceptions = True
        faulthandler.enable(sys.__stderr__)
        log.close()
        gc.set_threshold(*thresholds)
        atexit.unregister(gc.freeze)


def fail_in_the_depth_of_a_job():
    raise ValueError("lr: 7 is too high")


def end_by_an_error():
    """End as the interpreter does with an error that nothing catches."""
    try:
        fail_in_the_depth_of_a_job()
    except ValueError:
        sys.excepthook(*sys.exc_info())


def test_messages_of_the_library_go_to_the_log_and_not_to_the_terminal(tmp_path, capsys):
    path = tmp_path / "job.log"
    with started_log(str(path)):
        logging.getLogger("memorization.training.training").info("iteration %d", 10)
    lines = path.read_text().splitlines()
    assert len(lines) == 1
    assert re.fullmatch(r"\d\d:\d\d:\d\d iteration 10", lines[0])
    assert capsys.readouterr() == ("", "")


def test_of_other_libraries_the_log_has_warnings_alone(tmp_path, capsys):
    path = tmp_path / "job.log"
    with started_log(str(path)):
        logging.getLogger("fontTools.subset").info("glyf pruned")
        logging.getLogger("matplotlib.font_manager").warning("findfont: no such font")
        warnings.warn("an overflow", RuntimeWarning, stacklevel=1)
    text = path.read_text()
    assert "glyf" not in text
    assert "findfont: no such font" in text and "RuntimeWarning: an overflow" in text
    assert capsys.readouterr() == ("", "")


def test_a_crash_in_the_code_of_a_library_leaves_the_lines_that_led_there_in_the_log(tmp_path):
    path = tmp_path / "job.log"
    code = f"import os; from memorization.storage.log import start_log; start_log({str(path)!r}); os.abort()"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY / "workflow" / "scripts")
    assert "Fatal Python error: Aborted" in path.read_text()
    assert 'File "<string>", line 1' in path.read_text()


def test_the_log_has_the_whole_traceback_of_what_ends_a_job(tmp_path):
    path = tmp_path / "job.log"
    with started_log(str(path)):
        end_by_an_error()
    text = path.read_text()
    assert "Traceback (most recent call last):" in text
    assert "in end_by_an_error" in text
    assert "in fail_in_the_depth_of_a_job" in text
    assert text.rstrip().endswith("ValueError: lr: 7 is too high")


def test_the_terminal_gets_one_line_of_what_ends_a_job_and_where_to_read_more(tmp_path, capsys):
    path = tmp_path / "job.log"
    with started_log(str(path)):
        end_by_an_error()
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"ValueError: lr: 7 is too high (more in {path})\n"


def test_the_line_begins_with_the_message_if_that_begins_with_empty_lines(tmp_path, capsys):
    with started_log(str(tmp_path / "job.log")):
        sys.excepthook(ImportError, ImportError("\n\nNumPy cannot be imported\nbecause"), None)
    assert capsys.readouterr().err.startswith("ImportError: NumPy cannot be imported (more in ")


def test_a_line_of_the_log_can_be_read_while_the_job_runs(tmp_path):
    path = tmp_path / "job.log"
    with started_log(str(path)) as log:
        log.write("3/4\n")
        assert path.read_text() == "3/4\n"


def test_a_new_log_replaces_that_of_an_earlier_job(tmp_path):
    path = tmp_path / "job.log"
    path.write_text("of an earlier job\n")
    with started_log(str(path)) as log:
        log.write("of this job\n")
    assert path.read_text() == "of this job\n"


def attempt(path, *statements):
    """Run a job that ends well; Snakemake deletes its log first."""
    path.unlink(missing_ok=True)
    code = "\n".join([f"log.start_log({str(path)!r})", *statements])
    imports = "import logging; from memorization.storage import log\n"
    subprocess.run([sys.executable, "-c", imports + code], cwd=REPOSITORY / "workflow" / "scripts", check=True)
    return re.sub(r"\d\d:\d\d:\d\d |, .* ----", "", path.read_text()).split("\n")[:-1]


def test_the_log_keeps_a_training_that_ended_well_until_its_checkpoint_is_removed(tmp_path):
    path = tmp_path / "run.log"
    attempt(path, "log.keep_attempts()", "logging.warning('trained')")
    again = ["log.keep_attempts()", "logging.warning('from the checkpoint')"]
    assert attempt(path, *again) == ["trained", "", "---- another attempt", "from the checkpoint"]
    (tmp_path / "run.pkl").touch()
    remove_checkpoints([tmp_path / "run.pkl"])
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "run.pkl"]
    assert attempt(path, *again) == ["from the checkpoint"]


def test_the_log_of_another_job_keeps_no_attempt_that_ended_well(tmp_path):
    path = tmp_path / "run.log"
    attempt(path, "logging.warning('drawn')")
    assert attempt(path, "logging.warning('drawn again')") == ["drawn again"]
    assert list(tmp_path.iterdir()) == [path]


def test_the_log_of_a_training_with_other_settings_forgets_earlier_ones(tmp_path):
    path = tmp_path / "run.log"
    attempt(path, "log.keep_attempts()", "logging.warning('trained')")
    lines = attempt(
        path,
        "logging.warning('others')",
        "log.forget_earlier_attempts()",
        "logging.warning('trained anew')",
    )
    assert lines == ["others", "trained anew"]


def test_the_log_has_the_cpu_time_of_what_is_computed_and_not_of_what_is_waited_for(tmp_path):
    path = tmp_path / "job.log"
    with started_log(str(path)):
        with cpu_time_logged("training"):
            start = time.process_time()
            while time.process_time() < start + 0.05:
                pass
        with cpu_time_logged("evaluation"):
            time.sleep(0.2)
    assert logged_cpu_time(path) == pytest.approx(0.05, abs=0.02)
