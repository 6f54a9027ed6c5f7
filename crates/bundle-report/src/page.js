"use strict";
// What the scripts of all pages share: each page runs this one first, and its constants are seen by the next. Texts become
// text nodes: nothing here makes markup of them.
const byId = (id) => document.getElementById(id);
const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
