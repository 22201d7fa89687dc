"""The demo's report: one HTML page that needs nothing but itself."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from string import Template

from hansa.core.history import FEDERATED
from hansa.demo.charts import Point, line_chart
from hansa.demo.play import Measured, Played, holdings
from hansa.demo.scenario import GROUPS, OWNERS


def write_report(played: Played, path: Path) -> None:
    """Write the report of a demo to `path`."""
    path.write_text(report(played), encoding="utf-8")


def report(played: Played) -> str:
    """The page."""
    final, best = played.final, max(played.alone.values(), key=lambda alone: alone.accuracy)
    return _PAGE.substitute(
        title=escape(played.scenario.source.title),
        federated=f"{final.accuracy:.1%}",
        alone=f"{best.accuracy:.1%}",
        pooled=f"{played.pooled.accuracy:.1%}",
        classes="".join(f"<th>{label}</th>" for label in range(10)),
        owners="".join(_owner_row(name, counts) for name, counts in holdings(played.scenario).items()),
        accuracy=line_chart("Accuracy by round", _accuracies(played), y_max=1.0, percent=True),
        loss=line_chart(
            "Training loss of each owner by round", _losses(played), y_max=_loss_ceiling(played), percent=False
        ),
        groups="".join(f"<th>says {group}</th>" for group in GROUPS),
        evaluations="".join(_evaluation_row(each) for each in played.evaluations),
        comparison=_comparison(played),
        facts=_facts(played),
    )


def _owner_row(name: str, counts: dict[str, int]) -> str:
    cells = "".join(f"<td>{counts.get(str(label), 0) or ''}</td>" for label in range(10))
    role = "" if name in OWNERS else ' <span class="quiet">evaluates, never trains</span>'
    return f'<tr class="line-{name}"><th>{name}{role}</th>{cells}<td>{sum(counts.values())}</td></tr>\n'


def _accuracies(played: Played) -> dict[str, list[Point]]:
    names = (*OWNERS, FEDERATED)
    return {name: [(each.round, each.accuracy) for each in played.evaluations if each.model == name] for name in names}


def _losses(played: Played) -> dict[str, list[Point]]:
    rounds = [entry for entry in played.history.entries if entry.work == "train"]
    losses = {owner: [(e.round, e.outcomes[owner].metrics.value("loss")) for e in rounds] for owner in OWNERS}
    return {owner: [point for point in points if math.isfinite(point[1])] for owner, points in losses.items()}


def _loss_ceiling(played: Played) -> float:
    """A round number above nearly all losses: the first rounds may stick out."""
    values = sorted(y for points in _losses(played).values() for _, y in points) or [1.0]
    typical = values[int(0.98 * (len(values) - 1))]
    power = 10.0 ** math.floor(math.log10(max(typical, 0.01)))
    return next(power * step for step in (1, 2, 2.5, 5, 10) if typical <= power * step)


def _evaluation_row(measured: Measured) -> str:
    shares = "".join(
        f'<td class="share"><span style="width:{share:.1%}"></span><b>{share:.1%}</b></td>'
        for share in measured.shares.values()
    )
    cells = f"<td>{measured.loss:.3f}</td><td>{measured.accuracy:.1%}</td>"
    return f'<tr class="line-{measured.model}"><td>{measured.round}</td><th>{measured.model}</th>{shares}{cells}</tr>\n'


def _comparison(played: Played) -> str:
    rows = [(f"{owner} alone", owner, measured) for owner, measured in played.alone.items()]
    rows += [
        ("the federation", FEDERATED, played.final),
        ("everyone's data pooled in one place", "pooled", played.pooled),
    ]
    return "".join(
        f'<tr class="line-{kind}"><th>{escape(title)}</th>'
        f'<td class="share"><span style="width:{measured.accuracy:.1%}"></span><b>{measured.accuracy:.1%}</b></td>'
        f"<td>{measured.loss:.3f}</td></tr>\n"
        for title, kind, measured in rows
    )


def _facts(played: Played) -> str:
    facts = {
        "rounds": played.scenario.rounds,
        "seed": played.scenario.seed,
        "mode": played.history.mode,
        "model sha256": played.model_sha256,
        **played.history.environment,
    }
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())


_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hansa demo: $title</title>
<style>
:root { color-scheme: light dark; --ink: #1c2430; --quiet: #667085; --paper: #ffffff; --card: #f5f6f8; --rule: #dfe3e8;
  --alice: #c2410c; --bob: #1d6fb8; --charlie: #7c3aed; --federated: #0f7b4d; --pooled: #667085; --testing: #667085 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --quiet: #98a2b3; --paper: #12161c; --card: #1b212a;
  --rule: #2c3440; --alice: #fb923c; --bob: #60a5fa; --charlie: #a78bfa; --federated: #34d399; --pooled: #98a2b3 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 860px;
  margin: 2.5rem auto; padding: 0 1.25rem }
h1 { font-size: 1.6rem; margin-bottom: .25rem } h2 { font-size: 1.15rem; margin-top: 2.5rem }
.quiet, .lead { color: var(--quiet) } .lead { margin-top: 0 } .quiet { font-weight: normal; font-size: .85em }
.cards { display: flex; gap: 1rem; flex-wrap: wrap; margin: 1.5rem 0 }
.cards div { background: var(--card); border-radius: .6rem; padding: .9rem 1.2rem; flex: 1 1 12rem }
.cards b { display: block; font-size: 1.9rem } .cards .line-federated b { color: var(--federated) }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .92rem }
th, td { padding: .3rem .55rem; text-align: right; border-bottom: 1px solid var(--rule) }
th { font-weight: 600 } td + th, tbody th, thead th:first-child, .name { text-align: left }
tbody tr.line-federated { font-weight: 600; border-bottom: 2px solid var(--rule) }
.share { position: relative; min-width: 5.5rem } .share b { position: relative; font-weight: inherit }
.share span { position: absolute; inset: .2rem auto .2rem 0; background: currentColor; opacity: .16; border-radius: .2rem }
svg { width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: currentColor }
svg .grid { stroke: var(--rule) } svg .tick { fill: var(--quiet) }
svg polyline { fill: none; stroke: currentColor; stroke-width: 2 } svg circle { fill: currentColor }
svg .line-federated polyline { stroke-width: 3.5 }
.line-alice { color: var(--alice) } .line-bob { color: var(--bob) } .line-charlie { color: var(--charlie) }
.line-federated { color: var(--federated) } .line-pooled { color: var(--pooled) } .line-testing { color: var(--testing) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; font-size: .88rem }
dt { color: var(--quiet) } dd { margin: 0; overflow-wrap: anywhere }
.scroll { overflow-x: auto }
</style></head><body>
<h1>Three owners learned all ten classes</h1>
<p class="lead">$title. Alice, Bob and Charlie each hold a few classes only. They trained one model together; no example left
its owner.</p>
<div class="cards">
<div class="line-alone"><b>$alone</b>the best that one owner reaches alone</div>
<div class="line-federated"><b>$federated</b>the federation, on all ten classes</div>
<div class="line-pooled"><b>$pooled</b>if all data lay in one place</div>
</div>
<h2>Who holds what</h2>
<div class="scroll"><table><thead><tr><th>owner</th>$classes<th>total</th></tr></thead><tbody>
$owners</tbody></table></div>
<h2>Accuracy on the test data</h2>
<p class="quiet">Each owner's own model after its local training, before averaging; and the federated model after it.</p>
$accuracy
<h2>Training loss</h2>
<p class="quiet">Of each owner on its own examples, round by round. It starts high in each round because the averaged model has
to serve everybody.</p>
$loss
<h2>What the models say</h2>
<p class="quiet">The shares of predictions that fall in each owner's classes, over the whole test set.</p>
<div class="scroll"><table><thead><tr><th>round</th><th class="name">model</th>$groups
<th>loss</th><th>accuracy</th></tr></thead><tbody>
$evaluations</tbody></table></div>
<h2>What federating gave</h2>
<div class="scroll"><table><thead><tr><th>trained by</th><th>accuracy</th><th>loss</th></tr></thead><tbody>
$comparison</tbody></table></div>
<h2>How to get the same numbers</h2>
<dl>$facts</dl>
</body></html>
""")
