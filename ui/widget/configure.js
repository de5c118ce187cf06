// The configurator: a form, the lines that embed such a widget, and that widget itself.

(() => {
  "use strict";

  const $ = (selector) => document.querySelector(selector);
  const form = $("form");
  const server = new URL("..", document.baseURI).href;
  const accent = form.elements.accent.value; // the widget's own
  const PAUSE = 300; // milliseconds without typing before the preview follows

  let typing = 0; // the timer that waits for it

  /** The attributes that differ from what the widget does without them. */
  function chosen() {
    const given = Object.fromEntries(new FormData(form));
    if (given.accent === accent) given.accent = "";
    if (given.mode) given.position = "";
    return Object.entries(given).filter(([, value]) => value.trim());
  }

  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");

  function snippet() {
    const lines = [`<script defer src="${server}widget.js"`];
    for (const [name, value] of chosen()) lines.push(`        data-${name}="${escaped(value)}"`);
    return `${lines.join("\n")}></script>`;
  }

  function update() {
    if ($("#snippet").textContent === snippet()) return;
    const settings = Object.fromEntries(chosen());
    $("#snippet").textContent = snippet();
    $("#refused").hidden = true;
    $("#copied").textContent = "";
    $("#without").hidden = Boolean(settings.site);
    $("#corner").hidden = !settings.site || settings.mode === "inline";
    form.elements.position.disabled = settings.mode === "inline";
    $("#preview").replaceChildren(...(settings.site ? [widget(settings)] : []));
  }

  function widget({ title, ...settings }) {
    const made = document.createElement("youju-chat");
    made.setAttribute("base", server);
    if (title) made.setAttribute("heading", title);
    for (const [name, value] of Object.entries(settings)) made.setAttribute(name, value);
    made.addEventListener("youju-refused", () => {
      $("#refused").hidden = false;
    });
    return made;
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(snippet());
      $("#copied").textContent = "已复制 Copied";
    } catch {
      getSelection().selectAllChildren($("#snippet"));
      $("#copied").textContent = "浏览器不让网页复制；已选中，请按 Ctrl+C。 Selected: please copy it yourself.";
    }
  }

  for (const code of document.querySelectorAll(".origin")) code.textContent = window.origin;
  form.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(update, PAUSE);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  $("#copy").addEventListener("click", copy);
  update();
})();
