"""The look of report.html: one style sheet, light and dark, screen and paper, no font or picture from anywhere."""

from __future__ import annotations

CSS = """
:root{color-scheme:light dark;
--bg:#f6f7f9;--card:#fff;--ink:#14181f;--soft:#5b6472;--line:#e2e6ec;--tint:#f0f3f7;
--blue:#2457d6;--teal:#0b8f83;--amber:#b96a00;--red:#c62f3b;--green:#17803d;
--good-bg:#e7f5ec;--warn-bg:#fdf1de;--bad-bg:#fbe6e8;
--shadow:0 1px 2px rgba(16,24,40,.05),0 4px 16px rgba(16,24,40,.05)}
@media(prefers-color-scheme:dark){:root{
--bg:#0e1116;--card:#161b22;--ink:#e8ecf2;--soft:#9aa5b4;--line:#2a313b;--tint:#1c222b;
--blue:#7aa2ff;--teal:#45c9bb;--amber:#f0ad4e;--red:#ff7b86;--green:#56d07f;
--good-bg:#12281b;--warn-bg:#2e2312;--bad-bg:#331a1e;--shadow:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;-webkit-text-size-adjust:100%}
main,header>div,nav>div{max-width:1120px;margin:0 auto;padding:0 24px}
header{background:var(--card);border-bottom:1px solid var(--line);padding:28px 0 26px}
.brand{display:flex;gap:10px;align-items:center;color:var(--soft);font-size:13px;letter-spacing:.02em}
.brand svg{display:block}
.brand b{color:var(--ink);font-weight:650}
h1{font-size:27px;line-height:1.2;margin:14px 0 4px;font-weight:680;letter-spacing:-.015em;overflow-wrap:anywhere}
h1 span{color:var(--soft);font-weight:500}
h2{font-size:19px;margin:0 0 4px;font-weight:650;letter-spacing:-.01em}
h3{font-size:14px;margin:22px 0 8px;font-weight:650}
p{margin:6px 0 12px}.lead,.note{color:var(--soft)}.note{font-size:13px}
.verdict{display:flex;gap:14px;align-items:flex-start;margin:18px 0 20px;padding:15px 18px;border-radius:12px;
font-size:18px;line-height:1.4;font-weight:560}
.verdict small{display:block;font-size:13.5px;font-weight:400;color:var(--soft);margin-top:3px}
.verdict svg{flex:none;margin-top:1px}
.good{background:var(--good-bg)}.warn{background:var(--warn-bg)}.bad{background:var(--bad-bg)}
.good>svg,.t-good{color:var(--green)}.warn>svg,.t-warn{color:var(--amber)}.bad>svg,.t-bad{color:var(--red)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(168px,1fr));gap:12px}
.card{background:var(--tint);border-radius:12px;padding:13px 16px}
.card b{display:block;font-size:25px;line-height:1.2;font-weight:680;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.card i{font-style:normal;font-size:14px;font-weight:560;color:var(--soft);margin-left:3px;letter-spacing:0}
.card span{display:block;color:var(--ink);font-size:13px;font-weight:560;margin-top:2px}
.card small{display:block;color:var(--soft);font-size:12.5px;line-height:1.4}
nav{position:sticky;top:0;z-index:2;background:var(--card);border-bottom:1px solid var(--line);font-size:13.5px}
nav>div{display:flex;gap:20px;overflow-x:auto;white-space:nowrap}
nav a{color:var(--soft);text-decoration:none;padding:10px 0}nav a:hover{color:var(--ink)}
section{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:22px 24px;margin:18px 0;
box-shadow:var(--shadow);scroll-margin-top:52px}
main{padding-top:6px;padding-bottom:40px}
.scroll{overflow-x:auto;margin:10px -4px;padding:0 4px}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th{font-weight:560;color:var(--soft);text-align:left;font-size:12.5px;padding:6px 12px 6px 0;
border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:bottom}
td{padding:6px 12px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}
.num{text-align:right;white-space:nowrap}th.num:last-child,td.num:last-child{padding-right:0}
tr.hit td{background:var(--bad-bg)}
table.kv td:first-child{color:var(--soft);white-space:nowrap;width:1%;padding-right:24px}
code,.mono{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr));gap:8px 32px}
.many{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:16px 20px;margin-top:12px}
figure{margin:0}figcaption{font-size:12.5px;color:var(--soft);line-height:1.4;overflow-wrap:anywhere}
figcaption b{color:var(--ink);font-weight:600}
.flips{display:grid;grid-template-columns:repeat(auto-fill,minmax(148px,1fr));gap:16px;margin-top:12px}
.flips img{width:100%;aspect-ratio:1;object-fit:cover;border-radius:9px;display:block;margin-bottom:6px;
background:var(--tint)}
svg{max-width:100%;height:auto}svg text{fill:var(--soft);font:11px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
svg .ink{fill:var(--ink)}svg .grid{stroke:var(--line)}svg .axis{stroke:var(--soft)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:12.5px;color:var(--soft);margin:4px 0}
.legend i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
.bar{display:inline-block;height:7px;border-radius:4px;margin-left:8px;vertical-align:1px;min-width:2px}
.pill{display:inline-block;padding:1px 9px;border-radius:99px;font-size:12px;font-weight:560;background:var(--tint)}
.pill.good{color:var(--green);background:var(--good-bg)}.pill.bad{color:var(--red);background:var(--bad-bg)}
details{margin:8px 0}summary{cursor:pointer;color:var(--blue);font-size:13.5px;padding:4px 0}
ul{margin:6px 0;padding-left:20px}
footer{max-width:1120px;margin:0 auto;padding:0 24px 40px;color:var(--soft);font-size:12.5px}
td>code:only-child{white-space:nowrap}table.kv td>code{white-space:normal}
@media(max-width:560px){main,header>div,nav>div{padding:0 12px}section{padding:18px 14px}h1{font-size:22px}
.verdict{font-size:16px;padding:13px 14px}.cards{grid-template-columns:repeat(auto-fit,minmax(136px,1fr));gap:8px}
.card{padding:11px 12px}.flips{grid-template-columns:repeat(auto-fill,minmax(128px,1fr));gap:14px 12px}
.many{grid-template-columns:repeat(auto-fill,minmax(136px,1fr))}
.wide{overflow-x:auto}.wide svg{max-width:none;width:700px}
th,td{padding-right:10px}table.kv td:first-child{padding-right:14px}footer{padding:0 12px 32px}}
@media print{:root{color-scheme:light;--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--tint:#f3f3f3;
--blue:#2457d6;--teal:#0b8f83;--amber:#b96a00;--red:#c62f3b;--green:#17803d;--good-bg:#e7f5ec;--warn-bg:#fdf1de;--bad-bg:#fbe6e8;
--shadow:none}
body{font-size:11px}table{font-size:10px}th{font-size:9.5px}code,.mono{font-size:9px}
.two{grid-template-columns:1fr 1fr}.cards{grid-template-columns:repeat(5,1fr)}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
nav{display:none}section{border:0;border-top:1px solid var(--line);border-radius:0;padding:14px 0;margin:0}
.card,figure,tr,.verdict{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}
main,header>div,footer{max-width:none;padding-left:0;padding-right:0}}
"""
