"""A small writer of SVG drawings that follow the reader's light or dark scheme."""

from collections.abc import Sequence

STYLE = """
svg { --ink: #1f2933; --faint: #b4bcc6; --paper: #ffffff; --mark: #d9480f;
      --a: #d9480f; --b: #1971c2; --c: #2b8a3e; --d: #9c36b5; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6e9ee; --faint: #5c6673; --paper: #1e2129; --mark: #ff922b;
        --a: #ff922b; --b: #4dabf7; --c: #69db7c; --d: #da77f2; } }
text { font: 14px system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: var(--ink); }
.small { font-size: 12px; } .title { font-weight: 600; } .soft { fill-opacity: 0.75; }
.middle { text-anchor: middle; } .end { text-anchor: end; }
.line { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.faint { fill: none; stroke: var(--faint); stroke-width: 1; }
.dashed { stroke-dasharray: 4 4; } .thick { stroke-width: 2.5; }
.dot { fill: var(--ink); }
"""
ARROW = (
    '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="var(--ink)"/></marker>'
)


class Figure:
    """An SVG drawing, y down."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.size, self.title, self.parts = (width, height), title, [""]

    def text(self, x: float, y: float, words: str, kind: str = "", style: str = "") -> None:
        self._add("text", kind, style, words, x=x, y=y)

    def line(self, *points: tuple[float, float], kind: str = "line", style: str = "") -> None:
        joined = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._add("polyline", kind, style, points=joined)

    def arrow(self, *points: tuple[float, float], both: bool = False) -> None:
        start = "; marker-start: url(#arrow)" if both else ""
        self.line(*points, style=f"marker-end: url(#arrow){start}")

    def box(
        self, x: float, y: float, w: float, h: float, kind: str = "line", style: str = ""
    ) -> None:
        self._add("rect", kind, style, x=x, y=y, width=w, height=h)

    def fill(self, x: float, y: float, w: float, h: float, colour: str, alpha: float) -> None:
        self.box(x, y, w, h, "", f"fill: var(--{colour}); fill-opacity: {alpha:g}")

    def grid(
        self, x: float, y: float, w: float, h: float, rows: int, cols: int, kind: str = "faint"
    ) -> None:
        for i in range(rows + 1):
            self.line((x, y + h * i / rows), (x + w, y + h * i / rows), kind=kind)
        for j in range(cols + 1):
            self.line((x + w * j / cols, y), (x + w * j / cols, y + h), kind=kind)

    def dot(self, x: float, y: float, r: float = 3.5, colour: str = "ink") -> None:
        self._add("circle", "", f"fill: var(--{colour})", cx=x, cy=y, r=r)

    def cross(self, x: float, y: float, r: float = 6) -> None:
        for sign in (-1, 1):
            ends = (x - r, y - sign * r), (x + r, y + sign * r)
            self.line(*ends, kind="line thick", style="stroke: var(--mark)")

    def block(self, x: float, y: float, w: float, h: float, colour: str, *words: str) -> None:
        """A tinted box with lines of text in its middle."""
        self.fill(x, y, w, h, colour, 0.2)
        self.box(x, y, w, h, "line", f"stroke: var(--{colour})")
        for number, line in enumerate(words):
            middle = y + h / 2 + 5 + 17 * (number - (len(words) - 1) / 2)
            self.text(x + w / 2, middle, line, "small middle")

    def curve(
        self, points: Sequence[tuple[float, float]], colour: str, kind: str = "line thick"
    ) -> None:
        self.line(*((round(x, 1), round(y, 1)) for x, y in points), kind=kind,
                  style=f"stroke: var(--{colour})")  # fmt: skip

    def _add(self, tag: str, kind: str, style: str, words: str = "", **numbers: object) -> None:
        attributes = {"class": kind, "style": style, **numbers}
        shown = " ".join(
            f'{key}="{value:g}"' if isinstance(value, float) else f'{key}="{value}"'
            for key, value in attributes.items()
            if value != ""
        )
        self.parts.append(f"<{tag} {shown}>{words}</{tag}>")

    def svg(self) -> str:
        width, height = self.size
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">\n<title>{self.title}</title>\n'
            f"<style>{STYLE}</style>\n<defs>{ARROW}</defs>" + "\n".join(self.parts) + "\n</svg>\n"
        )
