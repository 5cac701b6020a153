// What of an answer could act on the page that shows it: looked at in a running JupyterLab or
// Notebook 7, whose own renderer, parser and MathJax do the work, or on a page that nbconvert has
// exported. An allow-list: whatever is not named here is reported.
async () => {
  const ELEMENTS = new Set(
    ('a blockquote br code del div em h1 h2 h3 h4 h5 h6 hr input li ol p pre s span strong table' +
      ' tbody td th thead tr ul').split(' ')
  );
  const HEADING = ['id', 'data-jupyter-id'];
  const ATTRIBUTES = {
    a: ['href', 'target', 'rel', 'class'],
    code: ['class'],
    span: ['class'],
    input: ['type', 'disabled', 'checked', 'class'],
    li: ['class'],
    ol: ['start'],
    td: ['align', 'style'],
    th: ['align', 'style'],
    h1: HEADING, h2: HEADING, h3: HEADING, h4: HEADING, h5: HEADING, h6: HEADING
  };
  // Of highlighters, of task lists, and of the anchors and numbers of headings.
  const CLASS =
    /^(?:language-[A-Za-z0-9][\w+#.-]*|jp-InternalAnchorLink|anchor-link|task-list-item(?:-checkbox)?|numbering-entry|[\u0370-\u03ff][0-9a-z]*(?: [\u0370-\u03ff][0-9a-z]*)*)$/;
  const ALIGNED = /^text-align: ?(?:left|right|center);?$/;
  // An address of the web whose host any browser can parse, without a user's name.
  const WEB =
    /^https?:\/\/(?!(?:[^/?#]*\.)?(?:\d+|0x[0-9a-f]*)\.?(?:[:/?#]|$))[\w\u00a1-\uffff.-]+(?::\d{1,5})?(?:[/?#]|$)/i;
  const NUMBERED = /^https?:\/\/\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?:[/?#]|$)/i;

  const rendermime = window.jupyterapp?.shell.currentWidget.content.rendermime;
  const mathjax = await rendermime?.latexTypesetter.mathDocument();
  const state = { acted: 0 };
  window.acted = () => { state.acted += 1; };
  for (const name of ['alert', 'confirm', 'prompt', 'open', 'print', 'close', 'stop'])
    window[name] = () => { state.acted += 1; return null; };

  const link = (each, value) => {
    if (each.matches('.jp-InternalAnchorLink, .anchor-link') || /^#[^\s"<>]+$/.test(value)) return true;
    if (/^mailto:[^\s"<>\\]+$/i.test(value)) return true;
    if (!(WEB.test(value) || NUMBERED.test(value)) || /[\s"<>\\`]/.test(value)) return false;
    each = document.createElement('a');
    each.href = value;
    return /^https?:$/.test(each.protocol) && !each.username && !each.password;
  };

  // What MathJax draws.
  const drawn = each => {
    const found = [];
    if (!/^(?:mjx-[a-z-]+|math|m[a-z]+|semantics|none)$/.test(each.localName))
      found.push(`<${each.localName}> in a formula`);
    for (const { name: key, value } of each.attributes)
      if (/^(?:on|href|xlink|src|id$|name$)/.test(key) || /url\(|position: (?!relative)|javascript/i.test(value))
        found.push(`${each.localName} ${key}=${value.slice(0, 80)} in a formula`);
    return found;
  };

  const harm = (host, typeset = false) => {
    const found = [];
    for (const each of host.querySelectorAll('*')) {
      if (typeset && each.closest('mjx-container')) {
        found.push(...drawn(each));
        continue;
      }
      const name = each.localName;
      const highlighted = each.closest('.highlight'); // nbconvert's, of Pygments
      if (!ELEMENTS.has(name) || each.namespaceURI !== 'http://www.w3.org/1999/xhtml')
        found.push(`<${name}>`);
      for (const { name: key, value } of each.attributes) {
        const plain = key === 'class' && highlighted && /^(?:highlight|hll|[a-z][a-z0-9]{0,2})$/.test(value);
        if (plain || (!value && highlighted && name === 'span')) continue;
        const good =
          (ATTRIBUTES[name] || []).includes(key) &&
          (key !== 'class' || CLASS.test(value)) &&
          (key !== 'style' || ALIGNED.test(value)) &&
          (key !== 'type' || value === 'checkbox') &&
          (key !== 'href' || link(each, value));
        if (!good) found.push(`${name} ${key}=${value.slice(0, 100)}`);
      }
    }
    const others = document.createTreeWalker(host, NodeFilter.SHOW_COMMENT);
    while (others.nextNode()) found.push(`<!--${others.currentNode.data.slice(0, 60)}`);
    return found;
  };

  // What MathJax would typeset of an element.
  const formulas = host => {
    mathjax.options.elements = [host];
    mathjax.clear();
    try {
      mathjax.findMath();
      return [...mathjax.math].map(each => each.math);
    } finally {
      mathjax.clear();
      delete mathjax.options.elements;
    }
  };

  const seen = (host, before) => {
    const found = harm(host);
    if (state.acted !== before) found.push('acted');
    const tex = formulas(host);
    for (const anchor of host.querySelectorAll('.jp-InternalAnchorLink, .anchor-link')) anchor.remove();
    return { harm: found, formulas: tex, text: host.textContent };
  };

  const render = async text => {
    const renderer = rendermime.createRenderer('text/markdown');
    // As in the outputs of a trusted notebook: Lab's own sanitizer does nothing there.
    const model = rendermime.createModel({ data: { 'text/markdown': text }, trusted: true });
    await renderer.renderModel(model);
    return renderer;
  };

  state.read = async texts => {
    const out = [];
    for (const text of texts) {
      const before = state.acted;
      try {
        const renderer = await render(text);
        out.push(seen(renderer.node, before));
        renderer.dispose();
      } catch (error) {
        out.push({ harm: [`error ${String(error).slice(0, 100)}`], formulas: [], text: '' });
      }
    }
    return out;
  };

  // The same of HTML that another reader has made.
  state.look = pages => pages.map(page => {
    const before = state.acted;
    const host = document.createElement('div');
    host.innerHTML = page;
    return seen(host, before);
  });

  // What of the outputs of a notebook could act, on its own page or on an exported one.
  state.outputs = () => {
    const outputs = [...document.querySelectorAll('.jp-RenderedMarkdown')];
    return {
      trusted: outputs.filter(each => each.classList.contains('jp-mod-trusted')).length,
      count: outputs.length,
      formulas: document.querySelectorAll('mjx-container').length,
      harm: [...outputs.flatMap(each => harm(each, true)), ...(state.acted ? ['acted'] : [])],
      text: outputs.map(each => each.textContent).join('\n')
    };
  };

  // Pages in frames, attached at once and left there for a while.
  state.frames = async (pages, seconds) => {
    const host = document.createElement('div');
    document.body.append(host);
    for (const page of pages) {
      const renderer = rendermime.createRenderer('text/html');
      const model = rendermime.createModel({ data: { 'text/html': page }, trusted: true });
      await renderer.renderModel(model);
      host.append(renderer.node);
    }
    await new Promise(resolve => setTimeout(resolve, 1000 * seconds));
    const found = [...host.querySelectorAll('*')].map(each => each.localName);
    const frames = [...host.querySelectorAll('iframe')].map(each => each.getAttribute('sandbox'));
    const styles = [...host.querySelectorAll('style')].map(each => each.textContent);
    host.remove();
    return { elements: [...new Set(found)], styles: [...new Set(styles)], sandboxes: [...new Set(frames)], count: frames.length, acted: state.acted };
  };

  // How long the page is busy with texts that become outputs of the notebook's first cell, until
  // it has nothing to do for some seconds, and how much there is then.
  state.load = async (texts, quiet) => {
    const notebook = jupyterapp.shell.currentWidget.content;
    const area = notebook.widgets[0].outputArea;
    area.model.clear();
    let busy = 0;
    let last = performance.now();
    let tick = last;
    for (const text of texts) {
      const data = { 'text/markdown': text };
      area.model.add({ output_type: 'display_data', data, metadata: {} });
    }
    const shown = () => {
      const outputs = [...area.node.querySelectorAll('.jp-RenderedMarkdown')];
      const all = outputs.length === texts.length && outputs.every(each => each.textContent);
      return all ? area.node.textContent.length : 0;
    };
    // Lab looks for headings some time after a change. A clock that comes late was kept waiting.
    while (!shown() || performance.now() - last < 1000 * quiet) {
      await new Promise(resolve => setTimeout(resolve, 20));
      const late = performance.now() - tick - 20;
      tick = performance.now();
      if (late > 50) {
        busy += late;
        last = tick;
      }
    }
    const formulas = [...area.node.querySelectorAll('mjx-container')];
    const signs = formulas.reduce((sum, each) => sum + each.querySelectorAll('*').length, 0);
    const headings = area.node.querySelectorAll('h1, h2, h3, h4, h5, h6').length;
    return {
      seconds: busy / 1000,
      characters: shown(),
      elements: area.node.querySelectorAll('*').length - signs,
      formulas: formulas.length,
      signs,
      headings
    };
  };

  // A text typeset where a person sees it: what of it is out of the way.
  state.show = async text => {
    const host = document.createElement('div');
    host.style.cssText = 'position: absolute; left: 0; top: 0; width: 900px; contain: layout';
    document.body.append(host);
    const before = state.acted;
    try {
      const renderer = await render(text);
      const found = harm(renderer.node);
      host.append(renderer.node);
      const started = performance.now();
      await rendermime.latexTypesetter.typeset(renderer.node);
      const seconds = (performance.now() - started) / 1000;
      if (seconds > 2) found.push(`slow: ${seconds} s`);
      for (const formula of host.querySelectorAll('mjx-container')) {
        const { height } = formula.getBoundingClientRect();
        if (height > 1500) found.push(`high: ${height} px`);
        for (const each of formula.querySelectorAll('*')) found.push(...drawn(each));
      }
      if (state.acted !== before) found.push('acted');
      renderer.dispose();
      return found;
    } catch (error) {
      return [`error ${String(error).slice(0, 100)}`];
    } finally {
      host.remove();
    }
  };

  // How many of each element a text becomes, what is to be read of it, and its formulas as MathML.
  state.made = async text => {
    const host = document.createElement('div');
    document.body.append(host);
    const renderer = await render(text);
    for (const each of renderer.node.querySelectorAll('.jp-InternalAnchorLink')) each.remove();
    const shown = renderer.node.textContent;
    const elements = {};
    for (const each of renderer.node.querySelectorAll('*'))
      elements[each.localName] = (elements[each.localName] || 0) + 1;
    host.append(renderer.node);
    await rendermime.latexTypesetter.typeset(renderer.node);
    const formulas = [...host.querySelectorAll('mjx-assistive-mml')].map(each => each.innerHTML);
    elements.formula = formulas.length;
    renderer.dispose();
    host.remove();
    return { text: shown, elements, formulas };
  };

  // The meaning of formulas, and what else of a page a text could have changed for good.
  state.page = async () => {
    const host = document.createElement('div');
    document.body.append(host);
    host.textContent =
      '$\\frac{1}{2} \\alpha \\sum_i \\le \\ge \\sin x \\begin{matrix} a & b \\end{matrix} \\sqrt{2}$';
    await rendermime.latexTypesetter.typeset(host);
    const formula = host.querySelector('mjx-assistive-mml')?.innerHTML;
    host.remove();
    const handlers = mathjax.inputJax[0].parseOptions.handlers;
    const macros = ['macro', 'environment', 'delimiter'].map(kind =>
      [...handlers.get(kind)._configuration].map(({ item }) => [item.name, item.map?.size])
    );
    const body = getComputedStyle(document.body);
    return JSON.stringify({
      formula, macros, body: [body.display, body.backgroundColor, body.overflow, body.position],
      title: document.title, url: location.href, base: document.baseURI,
      scripts: [...document.scripts].filter(each => !each.src).length,
      elements: [...document.querySelectorAll('iframe, object, embed, base, meta')].length,
      acted: state.acted, frames: window.length, cookie: document.cookie
    });
  };
  state.globals = () => Object.getOwnPropertyNames(window);
  window.oracle = state;
}
