// The widget: one custom element, <youju-chat>.
