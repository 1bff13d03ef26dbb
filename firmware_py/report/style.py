"""How the report looks: on a telephone, on a screen and on paper.

Colours are Okabe and Ito's (Color Universal Design, 2008), which colour-blind readers tell apart; each curve
has its own dashes and marks too, so that a print in grey reads the same.
"""

from typing import Final

CSS: Final = """
*{box-sizing:border-box}
html{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;color:#111;background:#fff;max-width:60rem;margin:0 auto;padding:12px;
 overflow-wrap:anywhere}
h1{font-size:1.5rem}
h2{font-size:1.2rem;border-bottom:1px solid #999;margin:1.6em 0 .4em}
h3{font-size:1rem;margin:.2em 0}
.said{font-size:1.1rem;padding-left:1.2em}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:1rem}
figure{margin:0;break-inside:avoid}
figcaption,.keys,.small,summary,table{font-size:.85rem;color:#333}
.keys{margin:0}
.key{display:inline-block;margin-right:1em}
.key svg{display:inline;width:34px;height:12px;margin-right:4px}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:2px 6px 2px 0;border-bottom:1px solid #ddd;vertical-align:top}
summary{cursor:pointer}
svg{width:100%;height:auto;display:block}
svg text{font:12px system-ui,sans-serif;fill:#111}
.ax{stroke:#444;fill:none}
.gr{stroke:#ddd;fill:none}
.ld{fill:#e9e9e9}
.ev{stroke:#555;stroke-dasharray:1 3}
.c0,.c1,.c2{fill:none;stroke-width:1.8;stroke-linejoin:round}
.c0{stroke:#0072b2}
.c1{stroke:#d55e00;stroke-dasharray:7 3}
.c2{stroke:#111;stroke-dasharray:2 2.5}
.m0,.m1,.m2{stroke:#fff;stroke-width:.6}
.m0{fill:#0072b2}
.m1{fill:#d55e00}
.m2{fill:#111}
.n0,.n1,.n2{fill:none}
.n0{stroke:#9a9a9a}
.n1{stroke:#5a5a5a}
.n2{stroke:#111}
.pc{fill:#0072b2}
@page{margin:14mm}
@media print{
 body{max-width:none;padding:0;font-size:10.5pt}
 .grid{display:block}
 figure{display:inline-block;width:48%;margin:0 1% 1em 0;vertical-align:top}
 tr{break-inside:avoid}
 .whole{break-inside:avoid}
 details{display:none}
 .last{break-before:page}
 h2{break-after:avoid}
}
"""
