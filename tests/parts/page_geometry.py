"""Texts that are hard to lay out, and a script that measures whether a page shows them without overflow."""

from __future__ import annotations

from typing import Final

WORD: Final = "Непереривнослово" * 4
"""60 characters and more without a place to break a line."""
LONG: Final = f"Довгий опис без кінця і краю, що не вміщується в один рядок на жодному екрані {WORD} 🏡👨‍👩‍👧‍👦"
RTL: Final = "غرفة الأخبار والعلوم والفنون الجميلة في المدينة، أهلا وسهلا بكم!"
EMOJI: Final = "🇺🇦🌻👩‍🚀" * 8
LONG_MESSAGES: Final = (
    LONG,
    RTL,
    EMOJI,
    f"https://example.org/{'a' * 120}",
    f"# {WORD}\n\n| {WORD} | b |\n|---|---|\n| c | {WORD} |\n\n```\n{WORD * 3}\n```\n\n> {LONG}\n\n1. {WORD}",
)

# Answers what is wrong as a list of texts. A control that scrolls into view must be hit at its centre; an element may leave
# the window only inside of something that scrolls sideways or that ends its text with "…". Inert controls may be covered.
MEASURE: Final = r"""async () => {
  const faults = [];
  const words = (node) => (node.getAttribute("aria-label") ?? node.textContent).trim().slice(0, 40);
  const named = (node) => `<${node.localName}> "${words(node)}"`;
  const visibility = {visibilityProperty: true, opacityProperty: true};
  const isShown = (node) => node.checkVisibility(visibility) && node.getClientRects().length > 0;
  const above = function* (node) { for (let at = node.parentElement; at; at = at.parentElement) yield at; };
  const opened = document.querySelector("dialog:modal") ?? document.querySelector(":popover-open");
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) faults.push(`the document is ${root.scrollWidth} px wide`);

  const mayLeave = (node) => {
    for (const at of above(node)) {
      const {overflowX, textOverflow, webkitLineClamp, clipPath} = getComputedStyle(at);
      if (["auto", "scroll"].includes(overflowX) && at !== root && at !== document.body && at.id !== "main") return true;
      if (textOverflow === "ellipsis" || webkitLineClamp !== "none" || clipPath !== "none") return true;
    }
    return false;
  };
  for (const node of document.body.querySelectorAll("*")) {
    if (node.closest("svg") && node.localName !== "svg") continue;
    if (!isShown(node)) continue;
    const {left, right, width} = node.getBoundingClientRect();
    if (width > 1 && (right > innerWidth + 1 || left < -1) && !mayLeave(node)) {
      faults.push(`${named(node)} reaches from ${Math.round(left)} to ${Math.round(right)} px`);
    }
  }

  const faultAt = (node) => {
    node.scrollIntoView({block: "center", inline: "nearest", behavior: "instant"});
    const {left, top, width, height} = node.getClientRects()[0];
    const [x, y] = [left + width / 2, top + height / 2];
    const hit = document.elementFromPoint(x, y);
    if (hit !== null && node.contains(hit)) return null;
    const instead = hit ? `covered by ${named(hit)}` : "outside the window";
    return `${named(node)} at ${Math.round(x)}, ${Math.round(y)} is ${instead}`;
  };
  const controls = "a[href], button, input, textarea, select, summary, [role=button]";
  for (const node of (opened ?? document.body).querySelectorAll(controls)) {
    if (node.getAttribute("href") === "#main" || node.closest("[inert]")) continue;
    let fault = null;
    // A virtual list places its rows in the frames after it was scrolled, and may drop one.
    for (let tries = 0; tries < 30; tries += 1) {
      fault = node.isConnected && isShown(node) ? faultAt(node) : null;
      if (fault === null) break;
      await frame();
    }
    if (fault !== null) faults.push(fault);
  }
  scrollTo(0, 0);
  return [...new Set(faults)].slice(0, 12);
}"""

# Buttons, choices and links of the navigation that are lower than so many pixels. A name above a message is part of its text.
SMALL: Final = r"""(least) => [...document.querySelectorAll("button, select, nav a, form input[type=search]")]
  .filter((node) => node.checkVisibility({visibilityProperty: true, opacityProperty: true}) && node.getClientRects().length)
  .filter((node) => !node.closest("[role=log], [inert]") && node.getBoundingClientRect().height < least)
  .map((node) => `"${(node.getAttribute("aria-label") ?? node.textContent).trim().slice(0, 40)}" is too low`)"""

# The texts of the front page's first section with a line that overlaps a house of the illustration. Its first 64 px fade out.
LINES_OVER_HOUSES: Final = r"""(hero) => {
  const street = hero.querySelector("svg").parentElement.getBoundingClientRect();
  const houses = [...hero.querySelectorAll("svg path, svg rect")]
    .filter((shape) => /roof|window/i.test(shape.getAttribute("class") ?? ""))
    .map((shape) => shape.getBoundingClientRect())
    .filter(({left}) => left > street.left + 64);
  const range = document.createRange();
  const texts = document.createTreeWalker(hero, NodeFilter.SHOW_TEXT);
  const found = new Set();
  while (texts.nextNode()) {
    range.selectNodeContents(texts.currentNode);
    for (const line of range.getClientRects()) {
      const isOver = ({left, right, top, bottom}) =>
        line.left < right && left < line.right && line.top < bottom && top < line.bottom;
      if (houses.some(isOver)) found.add(texts.currentNode.data);
    }
  }
  return [...found];
}"""

# The words of the header's links and buttons that are in several lines, or cut.
BROKEN_LABELS: Final = r"""() => {
  const range = document.createRange();
  const texts = document.createTreeWalker(document.querySelector("header"), NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const {data, parentElement} = texts.currentNode;
    range.selectNodeContents(texts.currentNode);
    const isCut = parentElement.scrollWidth > parentElement.clientWidth && getComputedStyle(parentElement).overflow !== "visible";
    if (data.trim() && (new Set([...range.getClientRects()].map(({top}) => top)).size > 1 || isCut)) found.push(data);
  }
  return found;
}"""
