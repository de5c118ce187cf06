customElements.define("youju-chat", class extends HTMLElement {});
