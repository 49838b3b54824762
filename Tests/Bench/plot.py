"""A plot as SVG: time and memory against size, on logarithmic axes but for the memory."""

from __future__ import annotations

import math
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 860, 340, 60, 40, 45
PANEL = 330
COLOURS = "#1f77b4", "#d62728", "#2ca02c", "#9467bd"


class Curve(NamedTuple):
    """MiB, seconds, MiB of memory above the base."""

    name: str
    points: list[tuple[float, float, float]]


def svg(title: str, curves: list[Curve]) -> str:
    """Two panels side by side: time, memory."""
    sizes = sorted({point[0] for curve in curves for point in curve.points})
    seconds = [point[1] for curve in curves for point in curve.points]
    memory = max(32.0, *(point[2] for curve in curves for point in curve.points))
    low, high = math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds)))
    floor = HEIGHT - BOTTOM
    depth = floor - TOP

    def across(panel: int, size: float) -> float:
        span = math.log2(sizes[-1] / sizes[0]) or 1
        return LEFT + panel * (PANEL + 90) + PANEL * math.log2(size / sizes[0]) / span

    def time_up(value: float) -> float:
        return floor - depth * (math.log10(value) - low) / max(high - low, 1)

    def memory_up(value: float) -> float:
        return floor - depth * value / (memory * 1.05)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
             'font-family="sans-serif" font-size="11">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             f'<text x="{LEFT}" y="18" font-size="13">{title}</text>']
    for panel, name in enumerate(("time, s", "most memory above the base, MiB")):
        left, right = across(panel, sizes[0]), across(panel, sizes[-1])
        parts.append(f'<path d="M{left:.1f} {TOP}V{floor}H{right:.1f}" fill="none" stroke="#444"/>')
        parts.append(f'<text x="{left:.1f}" y="{TOP - 6}">{name}</text>')
        for size in sizes:
            parts.append(f'<text x="{across(panel, size):.1f}" y="{floor + 16}" '
                         f'text-anchor="middle">{size:g}</text>')
        parts.append(f'<text x="{(left + right) / 2:.1f}" y="{floor + 34}" '
                     'text-anchor="middle">stream, MiB</text>')
    for power in range(low, high + 1):
        y = time_up(10.0**power)
        parts.append(f'<path d="M{LEFT} {y:.1f}h{PANEL}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for step in range(0, int(memory) + 1, 8):
        y = memory_up(step)
        parts.append(f'<path d="M{across(1, sizes[0]):.1f} {y:.1f}h{PANEL}" stroke="#ddd"/>')
        parts.append(f'<text x="{across(1, sizes[0]) - 6:.1f}" y="{y + 4:.1f}" '
                     f'text-anchor="end">{step}</text>')
    for index, curve in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        for panel, up, column in ((0, time_up, 1), (1, memory_up, 2)):
            line = " ".join(f"{across(panel, point[0]):.1f},{up(point[column]):.1f}"
                            for point in curve.points)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" '
                         'stroke-width="1.8"/>')
        parts.append(f'<text x="{LEFT + 12}" y="{TOP + 14 + 15 * index}" fill="{colour}">'
                     f'{curve.name}</text>')
    return "\n".join([*parts, "</svg>", ""])
