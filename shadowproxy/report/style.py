"""The page's style sheet. No font, picture or script is fetched: what is here is all there is.

Live and shadow are blue and vermilion, evidence against and for purple and green: pairs of Okabe and Ito's palette,
which people with any of the common colour blindnesses can tell apart; in the dark their lighter companions.
"""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --ink: light-dark(#1b2330, #e3e8ef); --soft: light-dark(#566273, #9aa7b8); --line: light-dark(#dfe4ea, #333d4a);
  --ground: light-dark(#f5f6f8, #12161c); --card: light-dark(#ffffff, #1a2029); --tint: light-dark(#f0f3f6, #222a35);
  --live: light-dark(#0072b2, #56b4e9); --shadow: light-dark(#c44e00, #f0a050);
  --against: light-dark(#9b3b78, #dd93bf); --safety: light-dark(#00795a, #35c79d);
  --bad: light-dark(#b3261e, #ff8a80); --good: light-dark(#00704f, #4fd0a5); --open: light-dark(#6a5200, #e8c35a); --void: light-dark(#7a2d8b, #d69be6);
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 54rem; padding: 1.25rem 1.25rem 4rem; font: 15px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--ink); background: var(--ground); overflow-wrap: anywhere; }
a { color: inherit; text-underline-offset: 2px; }
h1 { font-size: 1.3rem; margin: 0; }
h2 { font-size: 1.25rem; margin: 0; line-height: 1.3; }
h3 { font-size: 1rem; margin: 0 0 0.5rem; }
p { margin: 0.35rem 0; max-width: 46rem; }
code, pre { font: 0.86em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { white-space: pre-wrap; background: var(--tint); border-radius: 6px; padding: 0.6rem 0.75rem; margin: 0.25rem 0; max-height: 26rem; overflow: auto; }
.soft, small, caption, figcaption { color: var(--soft); }
header { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: 0 1.5rem; margin-bottom: 1rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.25rem; margin-top: 1rem; }
article > h2 { margin: 2rem 0 0; }
.banner { border-left-width: 8px; }
.banner .word { display: inline-block; font-weight: 700; letter-spacing: 0.04em; font-size: 1.5rem; line-height: 1.2; }
.banner .sentence { font-size: 1.08rem; }
.REGRESSION { border-left-color: var(--bad); } .REGRESSION .word, .word.REGRESSION, .failed { color: var(--bad); }
.SAFE { border-left-color: var(--good); } .SAFE .word, .word.SAFE, .passed { color: var(--good); }
.UNDECIDED { border-left-color: var(--open); } .UNDECIDED .word, .word.UNDECIDED, .undecided { color: var(--open); }
.INVALID { border-left-color: var(--void); } .INVALID .word, .word.INVALID, .invalid { color: var(--void); }
.warning { border-left: 8px solid var(--bad); }
.state { font-weight: 600; white-space: nowrap; }
dl.facts { display: flex; flex-wrap: wrap; gap: 0.5rem 2rem; margin: 0.9rem 0 0; }
dl.facts dt { color: var(--soft); font-size: 0.85rem; } dl.facts dd { margin: 0; font-variant-numeric: tabular-nums; }
.wrap { overflow-x: auto; margin-left: -0.25rem; margin-right: -0.25rem; padding: 0 0.25rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; font-size: 0.93rem; }
caption { text-align: left; font-size: 0.87rem; padding-bottom: 0.3rem; }
th, td { padding: 0.3rem 0.75rem 0.3rem 0; border-top: 1px solid var(--line); text-align: left; vertical-align: top; overflow-wrap: normal; }
.any { overflow-wrap: anywhere; min-width: 9rem; }
thead th { border-top: 0; font-weight: 500; color: var(--soft); font-size: 0.87rem; }
tbody th { font-weight: 500; }
.num { text-align: right; white-space: nowrap; }
figure { margin: 0; } figure + *, .wrap + *, .pair + * { margin-top: 1.3rem; } ul { padding-left: 1.3rem; margin: 0.6rem 0; }
figcaption { font-size: 0.9rem; max-width: 46rem; margin-top: 0.35rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 0.5rem 2rem; }
details { margin-top: 0.4rem; } summary { cursor: pointer; color: var(--soft); font-size: 0.9rem; }
details.case { border-top: 1px solid var(--line); margin: 0; padding: 0.5rem 0; } details.case > summary { color: var(--ink); font-size: 1rem; }
.chart { display: block; max-width: 100%; height: auto; } .chart.wide { width: 100%; }
.chart.narrow { display: none; }
.pair .chart.wide { display: none; } .pair .chart.narrow { display: block; }
.chart text { font-size: 12px; fill: var(--ink); } .chart .halo { paint-order: stroke; stroke: var(--card); stroke-width: 4px; } .chart .tick, .chart .soft { fill: var(--soft); } .chart .name { font-weight: 600; font-size: 13px; }
.chart line { stroke-width: 1; } .grid { stroke: var(--line); } .axis { stroke: var(--soft); } .zero { stroke: var(--soft); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } line.line { stroke-width: 1.5; }
.line.live { stroke: var(--live); } .line.shadow { stroke: var(--shadow); stroke-width: 2.25; } .line.against { stroke: var(--against); } .line.safety { stroke: var(--safety); stroke-dasharray: 7 3; }
.fill.live { fill: var(--live); opacity: 0.22; } .band { fill: var(--shadow); opacity: 0.16; }
.dot.live { fill: var(--live); stroke: var(--live); } .dot.shadow { fill: var(--shadow); stroke: var(--shadow); } .dot.against { fill: var(--against); } .dot.safety { fill: var(--safety); }
.dot.hollow { fill: var(--card); stroke-width: 2; }
.chart .name.live, .chart .live.tick { fill: var(--live); } .chart .name.shadow { fill: var(--shadow); } .chart .name.against { fill: var(--against); } .chart .name.safety { fill: var(--safety); }
.chart .whisker { stroke: var(--shadow); stroke-width: 2; } .chart .thick { stroke-width: 4; }
.chart .decides { stroke: var(--ink); stroke-dasharray: 2 4; stroke-width: 1.5; } .chart .against.decides { stroke: var(--against); } .chart .safety.decides { stroke: var(--safety); }
.chart .margin { stroke-width: 2; stroke-dasharray: 4 3; stroke: var(--soft); } .chart .margin.bad { stroke: var(--bad); } .chart .margin.good { stroke: var(--good); }
.chart text.bad { fill: var(--bad); } .chart text.good { fill: var(--good); }
.bar.live { fill: var(--live); } .bar.rest { fill: var(--tint); stroke: var(--line); }
.key { display: inline-block; width: 1.6em; height: 0.75em; vertical-align: baseline; margin-right: 0.35em; border-radius: 2px; }
.key.live { background: color-mix(in srgb, var(--live) 25%, transparent); border: 2px solid var(--live); } .key.shadow { border-bottom: 3px solid var(--shadow); border-radius: 0; } .key.line-live { border-bottom: 3px solid var(--live); border-radius: 0; }
@media (max-width: 46rem) {
  body { padding: 0.75rem 0.6rem 3rem; } section { padding: 0.9rem 0.8rem; }
  .chart.wide { display: none; } .chart.narrow { display: block; width: 100%; max-width: 30rem; }
}
@media print {
  :root { color-scheme: light; --ground: #ffffff; }
  body { max-width: none; padding: 0; font-size: 11pt; } section { border-color: #bbbbbb; }
  section.banner, figure, tr, details.case { break-inside: avoid; } h2, h3 { break-after: avoid; }
  pre { max-height: none; } details::details-content { content-visibility: visible; height: auto; } .chart.wide { width: 100%; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
