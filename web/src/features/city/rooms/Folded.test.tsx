import { fireEvent, render, screen } from "@testing-library/react";
import { describe, expect, it, vi } from "vitest";
import { Folded } from "./Folded";

/** A link whose bottom is at `bottom` pixels, in a text that is cut at 100. */
function showLinkAt(bottom: number): HTMLElement {
  render(
    <Folded id={`m${bottom}`}>
      <a href="https://example.org">a link</a>
    </Folded>,
  );
  const link = screen.getByRole("link");
  vi.spyOn(link, "getBoundingClientRect").mockReturnValue({ bottom } as DOMRect);
  vi.spyOn(link.parentElement ?? link, "getBoundingClientRect").mockReturnValue({ bottom: 100 } as DOMRect);
  return link;
}

describe("a folded text", () => {
  it.each([
    { bottom: 80, isOpen: "false" },
    { bottom: 120, isOpen: "true" },
  ])("with the focus at $bottom px is unfolded: $isOpen", ({ bottom, isOpen }) => {
    fireEvent.focus(showLinkAt(bottom));
    expect(screen.getByRole("button").getAttribute("aria-expanded")).toBe(isOpen);
  });
});
