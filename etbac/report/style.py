"""How the page looks: light, dark, and on a phone."""

from __future__ import annotations

from etbac.report.plots import COLOURS

_LIGHT = "".join(f"--{name}:{colour};" for name, colour in COLOURS.items())
CSS = (
    f":root{{color-scheme:light dark;--page:#ffffff;--card:#f4f6f8;{_LIGHT}}}"
    """
@media (prefers-color-scheme:dark){:root{--page:#12161b;--card:#1b2129;--ink:#e6eaee;--muted:#9aa5b1;--line:#343d47;
--chain:#56b6e0;--full:#f0a04b;--bad:#ff8a80;}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:46rem;background:var(--page);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.6rem 0 .6rem;padding-top:.8rem;border-top:1px solid var(--line)}
p,ul{margin:.5rem 0;overflow-wrap:anywhere}
ul{padding-left:1.2rem}
.quiet,figcaption{color:var(--muted);font-size:15px}
.warn{border-left:4px solid var(--bad);padding-left:.8rem}
.cards{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));margin:1.2rem 0}
.card{background:var(--card);border-radius:.6rem;padding:1rem 1.1rem}
.card b{display:block;font-size:1.8rem;line-height:1.2;white-space:nowrap;
font-weight:650;font-variant-numeric:tabular-nums}
.card h3{margin:0;font-size:1rem;font-weight:600;color:var(--muted)}
.card p{margin:.4rem 0 0}
.wide{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;font-size:15px;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .5rem;text-align:right;vertical-align:bottom;border-bottom:1px solid var(--line)}
td{white-space:nowrap}
th{color:var(--muted);font-weight:600}
table{min-width:min(100%,26rem)}
th:first-child,td:first-child{text-align:left;padding-left:0}
.bar{display:inline-block;width:4rem;height:.7rem;margin-right:.6rem;background:var(--line);border-radius:.2rem}
.share{display:inline-block;min-width:3.4rem}
.fill{display:block;height:100%;background:var(--chain);border-radius:.2rem}
figure{margin:.8rem 0}
svg{display:block;width:100%;height:auto}
.exits{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr))}
.exits h3{font-size:1rem;margin:0 0 .3rem}
.faces{display:grid;grid-template-columns:repeat(6,1fr);gap:.35rem;margin:0 0 .4rem}
.faces img{width:100%;aspect-ratio:1;object-fit:contain;image-rendering:pixelated;background:var(--card);
border:2px solid transparent;border-radius:.25rem}
.faces img.wrong{border-color:var(--bad)}
code{font-size:.94em;overflow-wrap:anywhere}
@media print{body{max-width:none}section{break-inside:avoid}}
"""
)
