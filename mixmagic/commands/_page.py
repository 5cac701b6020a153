"""A notebook as an HTML page that needs no network and follows the reader's preference.

nbconvert, which is an extra, is imported when it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

# nbconvert's own page without its scripts, which it would fetch; with its dark colors, too; and
# with one left edge, at which the text of code begins as well.
_TEMPLATE = """
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block notebook_css -%}
{{ super() }}
{{ resources.include_css("static/theme-dark.css")
   | replace("<style", '<style media="screen and (prefers-color-scheme: dark)"') }}
<style>
:root { color-scheme: light dark; }
body { padding: 0; overflow-wrap: break-word; }
main { max-width: 52rem; margin: 0 auto; padding: 1.5rem 1.5rem 3rem; }
.jp-Cell, .jp-Notebook { padding: 0; }
.jp-Cell { margin: 0 0 1rem; }
.jp-InputPrompt, .jp-OutputPrompt, .jp-Collapser { display: none; }
.jp-Cell-inputWrapper, .jp-Cell-outputWrapper { margin: 0; }
.jp-CodeMirrorEditor, .highlight, pre, .jp-OutputArea-output, .jp-RenderedText,
.jp-RenderedHTMLCommon { margin: 0 !important; padding: 0 !important; text-indent: 0 !important;
  border-left-width: 0 !important; }
.jp-Cell-inputWrapper, .jp-InputArea { display: block; overflow: visible !important; }
.jp-InputArea-editor.jp-InputArea-editor { margin: 0 calc(-0.6rem - 1px) !important;
  border-radius: 4px;
  display: block; padding: 0.3rem 0.6rem !important; border-left-width: 1px !important; }
.jp-OutputArea-child, .jp-OutputArea-output { display: block; }
.jp-OutputArea-output { margin-top: 0.5rem !important; overflow-x: auto; }
.jp-OutputArea-output pre { white-space: pre-wrap; overflow-wrap: break-word; word-break: normal; }
.jp-RenderedHTMLCommon table { margin: 0 0 0.5rem !important; }
.jp-RenderedHTMLCommon :is(th, td):first-child { padding-left: 0 !important; }
.jp-MarkdownOutput th { text-align: left !important; }
</style>
{%- endblock -%}
"""


def page(notebook: NotebookNode, title: str) -> str:
    """Return a notebook as a page that fetches nothing.

    Args:
        notebook: The notebook, with its outputs.
        title: The title, unless the notebook has its own.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(embed_images=True, raw_template=_TEMPLATE)
    text, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return str(text)
