import { act, cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { useEffect, useState } from "react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Dialog } from "./Dialog";

afterEach(cleanup);

let load: (parts: number) => void;

/** A content that renders by itself. */
function Late() {
  const [parts, setParts] = useState(0);
  useEffect(() => {
    load = setParts;
  }, []);
  return (
    <div>
      {parts > 0 && <input aria-label="Name" />}
      {parts > 1 && <input aria-label="Topic" />}
    </div>
  );
}

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

  it("focuses the first field of a content that is loaded within it, once", async () => {
    render(
      <Dialog title="settings" onClose={() => undefined}>
        <Late />
      </Dialog>,
    );
    screen.getByRole("button").focus();
    act(() => load(1));
    const name = screen.getByRole("textbox", { name: "Name" });
    await waitFor(() => expect(document.activeElement).toBe(name));
    screen.getByRole("button").focus();
    act(() => load(2));
    await Promise.resolve();
    expect(document.activeElement).toBe(screen.getByRole("button"));
  });
});
