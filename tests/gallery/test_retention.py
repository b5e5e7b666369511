"""Retention: what is past its age goes, by the earlier of two times, and a clock that has jumped
empties no gallery.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

import trireid.cli
from tests.conftest import make_sample
from tests.gallery.crash_worker import NoNetwork, item
from tests.gallery.test_durability import filled, wait_until_erased
from trireid.gallery import Gallery
from trireid.gallery.actor import current_actor
from trireid.gallery.retention import set_keep_days
from trireid.gallery.retention_timer import RetentionTimer
from trireid.gallery.stats import stats
from trireid.inference import Embedder
from trireid.samples import GalleryError

DAY = 86_400.0


def age(gallery: Gallery, days: float, where: str) -> None:
    """Make some items that many days older, by when they were added."""
    with gallery._writing:
        gallery._writer.run(f"UPDATE items SET added = added - ? WHERE {where}", [days * DAY])


def test_age_is_by_the_earlier_of_two_times(tmp_path: Path) -> None:
    with filled(tmp_path / "a.gallery") as gallery:
        gallery.add_items(
            [
                replace(item("taken long ago", "p"), time="2020-01-01"),
                replace(item("text", "p"), time="later"),
            ]
        )
        gallery._writer.run(
            "UPDATE items SET instant = ?, time = '9999-12-31' WHERE id = 'i3'",
            [time.time() + 1e10],
        )
        age(gallery, 40, "id IN ('i3', 'i5', 'text')")
        assert gallery.list_matching(older_than_days=30) == ["i3", "i5", "taken long ago", "text"]
        assert gallery.remove_older(30) == 4
        assert gallery.audit()[-1][2] == {
            "older_than_days": 30,
            "removed": 4,
            "by": current_actor(),
        }


def test_a_clock_that_is_ahead_empties_no_gallery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a.gallery"
    with filled(folder) as gallery:
        set_keep_days(folder, 30)
        now = time.time()
        monkeypatch.setattr("trireid.gallery.retention.time.time", lambda: now + 40 * DAY)
        refused = r"40 of 40 items .* clock .* newest item was added .* only with --force"
        with pytest.raises(GalleryError, match=refused):
            gallery.remove_older(30)
        with pytest.raises(GalleryError, match=refused):
            gallery.retain()
        assert len(gallery) == 40
        assert gallery.remove_older(30, force=True) == 40


def test_half_of_a_gallery_goes_and_one_more_does_not(tmp_path: Path) -> None:
    with filled(tmp_path / "a.gallery", 10) as gallery:
        age(gallery, 40, "key <= 6")
        with pytest.raises(GalleryError, match="6 of 10 items"):
            gallery.remove_older(30)
        age(gallery, -40, "key = 6")
        assert gallery.remove_older(30) == 5


def test_a_rule_removes_what_has_expired_and_what_is_too_old(tmp_path: Path) -> None:
    folder = tmp_path / "a.gallery"
    with filled(folder) as gallery:
        gallery.add_items([replace(item("over", "p"), expires="2026-01-01T00:00:00Z")])
        assert gallery.retain() == 1  # what has expired goes without a rule
        age(gallery, 40, "id = 'i7'")
        assert gallery.retain() == 0
        set_keep_days(folder, 30)
        assert gallery.list_matching() == ["i7"]
        assert gallery.retain() == 1
        action, what = gallery.audit()[-1][1:]
        assert (action, what) == (
            "remove",
            {"keep_days": 30.0, "reason": "retention", "removed": 1, "by": current_actor()},
        )
        wait_until_erased(gallery)


def test_the_timer_applies_the_rule_and_says_what_it_refuses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with filled(tmp_path / "a.gallery") as gallery, filled(tmp_path / "b.gallery") as other:
        for each, where in ((gallery, "key <= 10"), (other, "key <= 30")):
            set_keep_days(each.folder, 30)
            age(each, 40, where)
        changed: list[str] = []
        timer = RetentionTimer([other, gallery], lambda each: changed.append(each.name), every=0.01)
        until = time.monotonic() + 60
        while not changed and time.monotonic() < until:
            time.sleep(0.01)
        timer.stop()
        assert (changed, len(gallery), len(other)) == (["a"], 30, 40)
        assert "30 of 40 items" in caplog.text


def test_the_command_line_sets_a_rule_and_says_what_would_go(
    tmp_path: Path, embedder: Embedder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a.gallery"
    with Gallery.open(folder, embedder) as gallery:
        gallery.add([make_sample(n, id=f"i{n}", identity="p\n1" if n else "p0") for n in range(3)])
        age(gallery, 40, "id <> 'i0'")
    assert trireid.cli.main(["gallery", "set", str(folder), "--keep-days", "30"]) == 0
    assert stats(folder)["keep_days"] == 30
    remove = ["gallery", "remove", str(folder)]
    capsys.readouterr()
    asked = ["--older-than", "30"], ["--id", "i0", "absent"], ["--identity", "p0"]
    for what, ids in zip(asked, (["i1", "i2"], ["i0"], ["i0"]), strict=True):
        assert trireid.cli.main([*remove, *what, "--dry-run"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"{folder}: {len(ids)} of 3 would be removed",
            *ids,
        ]
    for what in (["--older-than", "30"], ["--expired"]):
        assert trireid.cli.main([*remove, *what]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "2 of 3 items" in line
    assert trireid.cli.main([*remove, "--expired", "--force"]) == 0
    assert "2 removed; holds 1" in capsys.readouterr().out
    assert trireid.cli.main(["gallery", "set", str(folder), "--keep-days", "none"]) == 0
    assert stats(folder)["keep_days"] is None
    assert trireid.cli.main(["gallery", "set", str(folder), "--keep-days", "-1"]) == 2


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf")])
def test_an_age_that_is_none_is_refused(tmp_path: Path, days: float) -> None:
    with Gallery.open(tmp_path / "a.gallery", NoNetwork()) as gallery:
        with pytest.raises(GalleryError, match="days must be over 0"):
            gallery.remove_older(days)
        with pytest.raises(GalleryError, match="days must be over 0"):
            set_keep_days(gallery.folder, days)
