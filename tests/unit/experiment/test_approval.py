"""Who may run what: the policy, a person's decisions, and the desk that two processes share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from hansa.errors import ConfigError, Damaged, InputError, StoreError, UnknownName
from hansa.experiment.approval import Decision, Judgement, Policy, decide
from hansa.experiment.desk import Desk
from hansa.experiment.manifest import InitialModel, Manifest, SourceFile

INITIAL = InitialModel("cd" * 32, 10)
HASH, OTHER = "a" * 64, "b" * 64


def made(files: Mapping[str, str | bytes], name: str = "mnist", **fields: object) -> tuple[Manifest, dict[str, bytes]]:
    contents = {path: content if isinstance(content, bytes) else content.encode() for path, content in files.items()}
    listed = tuple(SourceFile(path, sha256(content).hexdigest(), len(content)) for path, content in contents.items())
    manifest = replace(Manifest(name, listed, INITIAL), **fields)  # type: ignore[arg-type]  # any of its fields
    return manifest, {sha256(content).hexdigest(): content for content in contents.values()}


ONE = made({"experiment.py": "import a\n", "a.py": "x = 1\ny = 2\n"})
TWO = made(
    {"experiment.py": "import a\n", "a.py": "x = 1\ny = 3\n", "b.py": "z = 1"}, requirements=("torch>=2",), seed=5
)


@pytest.mark.parametrize(
    ("policy", "signers", "signer", "expected"),
    [
        (Policy.AUTO, (), "alice", Judgement.APPROVED),
        (Policy.AUTO, ("bob",), "", Judgement.APPROVED),
        (Policy.TRUSTED, ("alice",), "alice", Judgement.APPROVED),
        (Policy.TRUSTED, ("alice",), "bob", Judgement.WAITING),
        (Policy.TRUSTED, (), "alice", Judgement.WAITING),
        (Policy.TRUSTED, ("",), "", Judgement.WAITING),
        (Policy.ASK, ("alice",), "alice", Judgement.WAITING),
        (Policy.ASK, (), "", Judgement.WAITING),
    ],
)
def test_what_a_policy_says_and_that_a_decision_goes_before_it(
    policy: Policy, signers: tuple[str, ...], signer: str, expected: Judgement
) -> None:
    others = {OTHER: Decision(OTHER, True, "", "eve", 0.0)}
    assert decide(policy, signers, signer, HASH, others).judgement is expected
    for approved, judged in ((True, Judgement.APPROVED), (False, Judgement.REFUSED)):
        verdict = decide(
            policy, signers, signer, HASH, others | {HASH: Decision(HASH, approved, "read it", "carol", 1.0)}
        )
        assert verdict.judgement is judged
        assert verdict.why.startswith("carol")
        assert verdict.why.endswith("it: read it")


def test_why_a_package_waits() -> None:
    assert decide(Policy.TRUSTED, ("a",), "bob", HASH, {}).why.startswith("bob signed it, who is not trusted here")
    assert decide(Policy.ASK, (), "bob", HASH, {}).why == "here a person reviews it first"
    assert Policy("ask") is Policy.ASK


def test_what_is_offered_waits_until_it_is_decided(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk")
    assert desk.waiting() == ()
    desk.offer(*TWO, "bob", at=2.0)
    desk.offer(*ONE, "alice", ["run-1"], at=1.0)
    assert [(each.manifest, each.signers, each.runs, each.at) for each in desk.waiting()] == [
        (ONE[0], ("alice",), ("run-1",), 1.0),
        (TWO[0], ("bob",), (), 2.0),
    ]
    assert desk.decision(ONE[0].hash) is None
    decided = desk.decide(ONE[0].hash, True, "fine", "carol", 3)
    assert decided == Decision(ONE[0].hash, True, "fine", "carol", 3.0)
    assert desk.decision(ONE[0].hash) == decided
    assert [each.manifest for each in desk.waiting()] == [TWO[0]]
    assert len(desk.offers()) == 2
    assert desk.decisions() == {ONE[0].hash: decided}


def test_all_of_it_is_private_and_there_after_a_restart(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        desk = Desk(tmp_path / "desk")
        desk.offer(*ONE, "alice")
        decided = desk.decide(ONE[0].hash, False, "no", "carol", 1.5)
    finally:
        os.umask(before)
    places = [tmp_path / "desk", *(tmp_path / "desk").rglob("*")]
    assert {each.stat().st_mode & 0o777 for each in places if each.is_dir()} == {0o700}
    assert {each.stat().st_mode & 0o777 for each in places if each.is_file()} == {0o600}
    assert not [each for each in places if each.name.startswith(".")], "no drafts are left"
    again = Desk(tmp_path / "desk")
    assert again.decision(ONE[0].hash) == decided
    assert again.waiting() == ()


def test_offering_again_adds_signers_and_runs_and_nothing_else(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.offer(*ONE, "alice", ["r1"], at=1.0)
    stamps = {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")}
    assert desk.offer(*ONE, "alice", ["r1"], at=9.0).at == 1.0
    assert {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")} == stamps
    both = desk.offer(*ONE, "bob", ["r2"], at=9.0)
    assert (both.signers, both.runs, both.at) == (("alice", "bob"), ("r1", "r2"), 1.0)
    assert desk.waiting() == (both,)


def test_the_last_decision_holds_and_the_log_keeps_all(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.offer(*ONE, "alice")
    desk.decide(ONE[0].hash, True, "", "carol", 1)
    last = desk.decide(ONE[0].hash, False, "second thoughts", "dave", 2)
    assert desk.decision(ONE[0].hash) == last
    log = [json.loads(line) for line in (tmp_path / "decisions.log").read_text().splitlines()]
    assert [(each["by"], each["approved"]) for each in log] == [("carol", True), ("dave", False)]


def test_a_changed_byte_is_a_new_question(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.offer(*ONE, "alice")
    desk.decide(ONE[0].hash, True, "", "carol", 1)
    changed = made({"experiment.py": "import a\n", "a.py": "x = 1\ny = 2 \n"})
    desk.offer(*changed, "alice")
    assert [each.manifest for each in desk.waiting()] == [changed[0]]
    assert decide(Policy.ASK, (), "alice", changed[0].hash, desk.decisions()).judgement is Judgement.WAITING
    assert decide(Policy.ASK, (), "alice", ONE[0].hash, desk.decisions()).judgement is Judgement.APPROVED


def test_content_that_is_not_what_its_hash_says_is_refused(tmp_path: Path) -> None:
    desk, (manifest, contents) = Desk(tmp_path), ONE
    for sha in contents:
        with pytest.raises(Damaged):
            desk.offer(manifest, contents | {sha: b"import os"}, "alice")
        with pytest.raises(Damaged):
            desk.offer(manifest, {each: content for each, content in contents.items() if each != sha}, "alice")
    with pytest.raises(InputError, match=r"U\+001B"):
        desk.offer(*made({"experiment.py": "# \x1b[8m"}), "alice")
    with pytest.raises(ConfigError, match="name of a signer"):
        desk.offer(*ONE, "Alice\n")
    assert desk.offers() == ()
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [tmp_path / "decisions.log"]


def test_contents_that_the_manifest_does_not_name_are_not_kept(tmp_path: Path) -> None:
    Desk(tmp_path).offer(ONE[0], ONE[1] | {"f" * 64: b"a model"}, "alice")
    assert {each.name for each in (tmp_path / "contents").iterdir()} == set(ONE[1])


def test_another_process_decides_and_the_stamp_tells(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.offer(*ONE, "alice")
    stamp = desk.stamp()
    desk.offer(*TWO, "alice")
    assert desk.waiting()
    assert desk.stamp() == stamp == Desk(tmp_path).stamp(), "offers and reading change nothing"
    program = (
        "import sys, pathlib\nfrom hansa.experiment.desk import Desk\n"
        "desk = Desk(pathlib.Path(sys.argv[1]))\n"
        "for approved in (True, False):\n    desk.decide(sys.argv[2], approved, 'said so', 'carol', 4.0)\n"
        "    print(desk.stamp())"
    )
    command = [sys.executable, "-c", program, str(tmp_path), ONE[0].hash]
    stamps = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len({str(stamp), *stamps}) == 3
    assert str(desk.stamp()) == stamps[-1]
    assert desk.decision(ONE[0].hash) == Decision(ONE[0].hash, False, "said so", "carol", 4.0)


def test_the_first_review_shows_everything_as_new(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.offer(*ONE, "alice")
    review = desk.review(ONE[0].hash)
    assert (review.hash, review.manifest, review.signers, review.previous) == (ONE[0].hash, ONE[0], ("alice",), None)
    assert [(each.path, each.text) for each in review.files] == [
        ("a.py", "x = 1\ny = 2\n"),
        ("experiment.py", "import a\n"),
    ]
    assert [(each.sha256, each.size) for each in review.files] == [(each.sha256, each.size) for each in ONE[0].files]
    assert [(each.path, each.kind) for each in review.changes] == [("a.py", "added"), ("experiment.py", "added")]
    assert review.changes[1].diff == "--- /dev/null\n+++ b/experiment.py\n@@ -0,0 +1 @@\n+import a\n"
    assert review.settings == {}


def test_a_review_shows_what_changed_since_the_last_approval(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.offer(*ONE, "alice")
    desk.decide(ONE[0].hash, True, "", "carol", 1)
    desk.offer(*TWO, "alice")
    review = desk.review(TWO[0].hash)
    assert review.previous == ONE[0].hash
    assert [(each.path, each.kind) for each in review.changes] == [("a.py", "changed"), ("b.py", "added")]
    changed, added = review.changes
    assert changed.diff == "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n x = 1\n-y = 2\n+y = 3\n"
    assert added.diff == "--- /dev/null\n+++ b/b.py\n@@ -0,0 +1 @@\n+z = 1\n\\ No newline at end of file\n"
    assert (review.requirements, review.requirements_added, review.requirements_removed) == (
        ("torch>=2",),
        ("torch>=2",),
        (),
    )
    assert review.settings == {"seed": (0, 5)}
    desk.decide(TWO[0].hash, True, "", "carol", 2)
    assert desk.review(TWO[0].hash).previous == ONE[0].hash, "not compared with itself"
    back = desk.review(ONE[0].hash)
    assert [(each.path, each.kind) for each in back.changes] == [("a.py", "changed"), ("b.py", "removed")]
    assert back.requirements_removed == ("torch>=2",)


def test_the_last_approved_is_of_the_same_name_and_signer_and_still_holds(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    third = made({"experiment.py": "pass\n"})
    elsewhere = made({"experiment.py": "import a\n", "a.py": ""}, name="other")
    for package, signer in ((ONE, "alice"), (TWO, "alice"), (third, "bob"), (elsewhere, "alice")):
        desk.offer(*package, signer)
    assert desk.last_approved("mnist", "alice") is None
    desk.decide(TWO[0].hash, True, "", "carol", 1)
    desk.decide(third[0].hash, True, "", "carol", 2)
    desk.decide(elsewhere[0].hash, True, "", "carol", 3)
    for last in (TWO, ONE):
        desk.decide(last[0].hash, True, "", "carol", 5)
        found = desk.last_approved("mnist", "alice")
        assert found is not None
        if last is ONE:
            break
        assert found.manifest == TWO[0]
    desk.decide(TWO[0].hash, True, "", "carol", 6)
    desk.decide(ONE[0].hash, False, "", "carol", 7)
    assert (found := desk.last_approved("mnist", "alice")) is not None
    assert found.manifest == TWO[0]
    assert desk.last_approved("mnist", "nobody") is None


def test_a_diff_ends_lines_where_an_editor_does_and_sees_a_byte_order_mark(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    before = made({"experiment.py": "a\n", "w.txt": "one\r\ntwo\x0cthree\u2028four\r\n"})
    now = made({"experiment.py": "\ufeffa\n", "w.txt": "one\r\ntwo\x0cthree\u2028five\r\n"})
    desk.offer(*before, "alice")
    desk.decide(before[0].hash, True, "", "carol", 1)
    desk.offer(*now, "alice")
    mark, text = desk.review(now[0].hash).changes
    assert (mark.path, mark.kind, mark.diff) == ("experiment.py", "changed", "")
    assert text.diff.split("\n")[3:] == [" one\r", "-two\x0cthree\u2028four\r", "+two\x0cthree\u2028five\r", ""]


@pytest.mark.parametrize("content", [HASH, "", "..", "../../etc/passwd", HASH.upper(), HASH + "\n"])
def test_what_never_lay_here_cannot_be_decided_or_reviewed(tmp_path: Path, content: str) -> None:
    desk = Desk(tmp_path / "desk")
    with pytest.raises(UnknownName, match="there is no package on the review desk"):
        desk.decide(content, True, "", "carol", 1)
    with pytest.raises(UnknownName):
        desk.review(content)
    assert desk.decision(content) is None


def test_a_reason_is_one_line(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.offer(*ONE, "alice")
    for why, by in (("two\nlines", "carol"), ("", "\x1b[2J"), ("x" * 1001, "carol")):
        with pytest.raises(InputError, match="one printable line"):
            desk.decide(ONE[0].hash, True, why, by, 1)
    assert desk.decisions() == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b'{"hash": "x", "approved": 1, "why": "", "by": "", "at": 0}',
        b"[" * 9999,
    ],
)
def test_a_damaged_record_is_named_and_never_an_approval(tmp_path: Path, content: bytes) -> None:
    desk = Desk(tmp_path)
    desk.offer(*ONE, "alice")
    desk.decide(ONE[0].hash, True, "", "carol", 1)
    for folder in ("decisions", "offers"):
        path = tmp_path / folder / f"{ONE[0].hash}.json"
        path.write_bytes(content)
        with pytest.raises(Damaged) as caught:
            desk.decisions() if folder == "decisions" else desk.offers()
        assert caught.value.where == str(path)


def test_a_decision_that_was_moved_to_another_hash_does_not_count(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for package in (ONE, TWO):
        desk.offer(*package, "alice")
    desk.decide(ONE[0].hash, True, "", "carol", 1)
    (tmp_path / "decisions" / f"{ONE[0].hash}.json").rename(tmp_path / "decisions" / f"{TWO[0].hash}.json")
    with pytest.raises(Damaged):
        desk.decision(TWO[0].hash)
    (tmp_path / "offers" / f"{ONE[0].hash}.json").rename(tmp_path / "offers" / f"{TWO[0].hash}.json")
    with pytest.raises(Damaged):
        desk.offers()


def test_a_file_that_was_changed_on_the_disk_is_not_reviewed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.offer(*ONE, "alice")
    path = tmp_path / "contents" / sha256(b"import a\n").hexdigest()
    path.write_bytes(b"import b\n")
    with pytest.raises(Damaged, match=r"experiment.py has 9 bytes") as caught:
        desk.review(ONE[0].hash)
    assert caught.value.where == str(path)
    desk.offer(*ONE, "alice")
    assert desk.review(ONE[0].hash).files[1].text == "import a\n", "offering it again mends it"
    path.unlink()
    with pytest.raises(StoreError):
        desk.review(ONE[0].hash)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="the review desk cannot be made"):
        Desk(tmp_path / "file" / "desk")
