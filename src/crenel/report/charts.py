"""Exposure curves as inline SVG that follows the page's colours, light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from crenel.report.curves import Curve, Mark, Panel, Point
from crenel.report.scales import Axis, budget_axis, harm_axis
from crenel.report.words import cut, is_share, number, percent

#: Of the drawing; each limit adds a line of words above it.
WIDTH, HEIGHT = 420, 236
TOP, BOTTOM, LEFT = 9, 24, 46
#: Width of a character of a label, and the space between two labels.
LETTER, LINE = 6.6, 14
#: Characters of a label at most.
LABEL = 16
#: Points drawn of one curve at most; beyond that the eye sees no difference.
POINTS = 240
#: Attack curves beyond this many are drawn but not labelled.
LABELS = 5


@dataclass(frozen=True)
class _Frame:
    x: Axis
    y: Axis
    top: float
    right: float


def chart(panel: Panel) -> Markup:
    """The panel as one ``<svg>`` with a title and a description, without fixed colours.

    Curves of attacks have a band for the 95 % interval; those that are lower bounds are dashed
    and say "at least"; controls are thin and grey; curves of the run before are dashed.
    """
    frame = _frame(panel)
    parts = [*_grid(frame, panel)]
    for i, m in enumerate(panel.marks):
        parts += _limit(frame, m, TOP + LINE * (i + 1) - 6)
    rank = {id(c): i for i, c in enumerate(panel.attacks)}
    for c in reversed(panel.curves):
        parts += _curve(frame, c, rank.get(id(c), 0))
    parts += _labels(frame, panel)
    return _svg(panel, parts)


def spark(c: Curve, width: int = 96, height: int = 28) -> Markup:
    """A curve without axes, harm from 0 to 1 for shares, for the overview."""
    points = thin(c.points)
    top = 1.0 if is_share(c.exposure.harm.unit) else max(p.value for p in points) or 1.0
    span = (points[0].budget, points[-1].budget)
    domain = span if span[1] > span[0] else (span[0], span[0] + 1)
    budgets = [p.budget for p in points]
    x = budget_axis(budgets, domain, c.exposure.budget.scale, 2, width - 2)
    y = Axis(min(0.0, *(p.value for p in points)), max(top, 1e-12), height - 3, 3)
    line = _path((x(p.budget), y(p.value)) for p in points)
    style = "line" if c.healthy else "line bound"
    base = f"M2 {height - 3}H{width - 2}"
    return Markup(
        f'<svg class="spark" viewBox="0 0 {width} {height}" aria-hidden="true">'
        f'<path class="grid" d="{base}"/><path class="{style}" d="{line}"/></svg>'
    )


def thin(points: tuple[Point, ...], most: int = POINTS) -> tuple[Point, ...]:
    """At most so many points, evenly chosen, first and last kept."""
    if len(points) <= most:
        return points
    step = (len(points) - 1) / (most - 1)
    return tuple(points[round(k * step)] for k in range(most))


def _frame(panel: Panel) -> _Frame:
    labels = [_name(c, panel) for c in _labelled(panel)]
    margin = max([24.0, *(len(text) * LETTER + 12 for text in labels)])
    right = WIDTH - margin
    budgets = [p.budget for c in panel.curves for p in c.points]
    x = budget_axis(budgets, panel.x_domain, panel.scale, LEFT, right)
    top = TOP + LINE * len(panel.marks)
    y = harm_axis(panel.y_domain, panel.y_scale, HEIGHT - BOTTOM, top)
    return _Frame(x, y, top, right)


def _grid(frame: _Frame, panel: Panel) -> list[str]:
    parts = []
    for tick in frame.y.ticks(5):
        at = frame.y(tick)
        text = _tick(tick, panel.harm_unit)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{frame.right:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{at + 4:.1f}" {_END}>{text}</text>')
    places = [(frame.x(t), _tick(t, panel.budget_unit)) for t in frame.x.ticks()]
    base, before = HEIGHT - BOTTOM, -1e9
    for at, text in places:
        half = len(text) * LETTER / 2
        if at - half < before + 4:
            continue
        before = at + half
        parts.append(f'<path class="axis" d="M{at:.1f} {base}v4"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{base + 17}" {_MIDDLE}>{text}</text>')
    if frame.x.log and frame.x.zero:
        gap = (frame.x.start + frame.x.first) / 2
        parts.append(f'<path class="axis" d="M{gap - 4:.1f} {base + 4}l4 -8m2 8l4 -8"/>')
    parts.append(f'<path class="axis" d="M{LEFT} {base}H{frame.right:.1f}"/>')
    return parts


_END = 'text-anchor="end"'
_MIDDLE = 'text-anchor="middle"'


def _tick(value: float, unit: str) -> str:
    return percent(value) if is_share(unit) else number(value)


def _limit(frame: _Frame, mark: Mark, words_at: float) -> list[str]:
    """The region that a policy forbids: more harm than the limit, for at most its budget."""
    x, y, top = frame.x(mark.budget), frame.y(mark.harm), frame.top
    left = frame.x.start
    words = escape(mark.words)
    title = f"<title>{words}: {escape(mark.status.replace('_', ' '))}. {escape(mark.sentence)}"
    # The words end or begin where the line meets the top, and stay inside the drawing.
    shown = escape(mark.words.split(" at ")[0])
    fits = x + len(shown) * LETTER < WIDTH
    place = f'x="{x - 3:.1f}"' if fits else f'x="{x + 3:.1f}" {_END}'
    return [
        f"<g>{title}</title>",
        f'<path class="over" d="M{left:.1f} {top}H{x:.1f}V{y:.1f}H{left:.1f}Z"/>',
        f'<path class="limit" d="M{left:.1f} {y:.1f}H{x:.1f}V{words_at + 4:.1f}"/>',
        f'<circle class="limit-end" cx="{x:.1f}" cy="{y:.1f}" r="3"/>',
        f'<text class="limit-words" {place} y="{words_at:.1f}">{shown}</text></g>',
    ]


def _curve(frame: _Frame, c: Curve, rank: int) -> list[str]:
    points = thin(c.points)
    line = [(frame.x(p.budget), frame.y(p.value)) for p in points]
    style = {"attack": "line", "before": "line before"}.get(c.role, c.role)
    if c.role == "attack":
        style += f" s{min(rank, 3)}" + ("" if c.healthy else " bound")
    parts = []
    if c.role in ("attack", "before") and len(points) > 1:
        upper = [(frame.x(p.budget), frame.y(p.high)) for p in points]
        lower = [(frame.x(p.budget), frame.y(p.low)) for p in reversed(points)]
        parts.append(f'<path class="band {c.role}" d="{_path([*upper, *lower])}Z"/>')
    if c.role == "attack" and len(c.possible) > 1:
        parts += _proofs(frame, c, line)
    parts.append(f'<path class="{style}" d="{_path(line)}"/>')
    if c.role == "attack" and len(points) <= 16:
        parts += [_dot(at, rank, p) for at, p in zip(line, points, strict=True)]
        if len(points) == 1:
            p = points[0]
            bar = f"M{line[0][0]:.1f} {frame.y(p.low):.1f}V{frame.y(p.high):.1f}"
            parts.append(f'<path class="{style}" d="{bar}"/>')
    return parts


def _proofs(frame: _Frame, c: Curve, line: list[tuple[float, float]]) -> list[str]:
    """The least harm that is ruled out, and between it and the attack what is undecided."""
    most = [(frame.x(b), frame.y(share)) for b, share in c.possible]
    name = escape(c.label)
    return [
        f'<path class="open" d="{_path([*most, *reversed(line)])}Z">'
        f"<title>{name}: undecided, neither broken nor proven</title></path>",
        f'<path class="proof" d="{_path(most)}">'
        f"<title>{name}: everything above is proven to hold</title></path>",
    ]


def _dot(at: tuple[float, float], rank: int, p: Point) -> str:
    x, y = at
    shapes = (
        f"M{x - 3:.1f} {y:.1f}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0Z",
        f"M{x - 3:.1f} {y - 3:.1f}h6v6h-6Z",
        f"M{x:.1f} {y - 4:.1f}l4 4l-4 4l-4 -4Z",
        f"M{x:.1f} {y - 4:.1f}l4 7h-8Z",
    )
    title = f"{number(p.budget)}: {p.value:.3g} [{p.low:.3g}, {p.high:.3g}]"
    return f'<path class="dot" d="{shapes[rank % 4]}"><title>{title}</title></path>'


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _labelled(panel: Panel) -> list[Curve]:
    return [c for c in panel.curves if c.role != "attack" or c in panel.attacks[:LABELS]]


def _name(c: Curve, panel: Panel) -> str:
    alone = c.role == "attack" and len(panel.attacks) == 1
    last = c.points[-1]
    value = _tick(last.value, panel.harm_unit)
    text = value if alone else cut(_distinct(c.label, [k.label for k in _labelled(panel)]), LABEL)
    if c.healthy or c.role != "attack":
        return text
    return f"at least {text}" if alone else f"≥ {text}"


def _distinct(label: str, labels: list[str]) -> str:
    """A long label without the words with which its neighbours begin too."""
    own = label.split()
    parts = [tuple(word.rstrip(",;:") for word in one.split()) for one in labels]
    kin = {words for words in parts if words[:1] == tuple(w.rstrip(",;:") for w in own[:1])}
    if len(label) <= LABEL or len(kin) < 2:
        return label
    shared = 0
    while len({words[: shared + 1] for words in kin}) == 1:
        shared += 1
    return " ".join(own[shared:]) or label


def _labels(frame: _Frame, panel: Panel) -> list[str]:
    """Labels at the ends of the curves, pushed apart where they would overlap."""
    wanted = []
    for c in _labelled(panel):
        last = c.points[-1]
        wanted.append((frame.y(last.value), frame.x(last.budget), c))
    wanted.sort(key=lambda item: item[0])
    places = _apart([y for y, _, _ in wanted], frame.top - 2.0, HEIGHT - BOTTOM + 2.0)
    return [
        f'<text class="label {c.role}" x="{x + 7:.1f}" y="{y + 4:.1f}">'
        f"{escape(_name(c, panel))}</text>"
        for y, (_, x, c) in zip(places, wanted, strict=True)
    ]


def _apart(places: list[float], low: float, high: float) -> list[float]:
    """Ascending places moved so that neighbours are a line apart, within bounds if possible."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, low, moved[-1] + LINE if moved else low))
    limit = max(high, low + LINE * (len(places) - 1))
    for i in range(len(moved) - 1, -1, -1):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - LINE
    return moved


def _svg(panel: Panel, parts: list[str]) -> Markup:
    title = f"{panel.harm} against {panel.budget}: {panel.check} on {panel.target or 'the target'}"
    lines = [f"{c.label}: {c.told}" for c in panel.curves]
    lines += [f"{m.words}: {m.status.replace('_', ' ')}" for m in panel.marks]
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{panel.key}-t {panel.key}-d">'
        f'<title id="{panel.key}-t">{escape(title)}</title>'
        f'<desc id="{panel.key}-d">{escape("; ".join(lines))}</desc>'
        f"{''.join(parts)}</svg>"
    )
