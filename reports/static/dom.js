// Elements, made without any markup: every text goes in as text.
(() => {
  "use strict";

  const byId = (id) => document.getElementById(id);

  // An element with attributes (functions are listeners, null and false are left out) and children.
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  const option = (value, text, isSelected) => make("option", { value, selected: isSelected }, text);

  // Hands a file to the reader, made here: nothing is sent.
  function download(name, type, text) {
    const address = URL.createObjectURL(new Blob([text], { type }));
    const link = make("a", { href: address, download: name, hidden: true });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  // Calls a function at most once a frame.
  function onceAFrame(call) {
    let isDue = false;
    return () => {
      if (isDue) return;
      isDue = true;
      requestAnimationFrame(() => {
        isDue = false;
        call();
      });
    };
  }

  moo.dom = { byId, make, option, download, onceAFrame };
})();
