import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Dialog } from "./Dialog";

afterEach(cleanup);

describe("a dialog", () => {
  it("stays open when a dialog inside it is cancelled", () => {
    const onOuterClose = vi.fn();
    const onInnerClose = vi.fn();
    render(
      <Dialog title="card" onClose={onOuterClose}>
        <Dialog title="reason" onClose={onInnerClose}>
          <p>Why?</p>
        </Dialog>
      </Dialog>,
    );
    fireEvent(screen.getByRole("dialog", { name: "reason" }), new Event("cancel", { cancelable: true }));
    expect(onInnerClose).toHaveBeenCalledOnce();
    expect(onOuterClose).not.toHaveBeenCalled();
  });

  it("focuses the first field that is shown", () => {
    render(
      <Dialog title="settings" onClose={() => undefined}>
        <form>
          <input type="file" hidden />
          <button type="button">Choose</button>
          <input aria-label="Name" />
        </form>
      </Dialog>,
    );
    expect(document.activeElement).toBe(screen.getByRole("textbox", { name: "Name" }));
  });
});
