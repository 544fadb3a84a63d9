import { fireEvent, render, screen } from "@testing-library/react";
import { describe, expect, it, vi } from "vitest";
import { lazyDialog } from "./lazyDialog";

const cancel = () => fireEvent(screen.getByRole("dialog"), new Event("cancel", { cancelable: true }));

describe("a dialog whose module is loaded late", () => {
  it("can be cancelled while it is loaded", () => {
    const Card = lazyDialog(() => new Promise(() => undefined));
    const onClose = vi.fn();
    render(<Card onClose={onClose} />);
    cancel();
    expect(onClose).toHaveBeenCalledOnce();
  });

  it("has a part of its own until then", () => {
    const Card = lazyDialog(
      () => new Promise(() => undefined),
      () => (
        <p>
          <input aria-label="early" />
        </p>
      ),
    );
    render(<Card onClose={vi.fn()} />);
    expect(document.activeElement).toBe(screen.getByLabelText("early"));
  });

  it("says in a dialog that it cannot be loaded, and is loaded again", async () => {
    const load = vi.fn().mockRejectedValueOnce(new TypeError("offline"));
    load.mockResolvedValue({ default: () => <p>loaded</p> });
    const Card = lazyDialog(load as () => Promise<{ default: () => React.JSX.Element }>);
    const onClose = vi.fn();
    vi.spyOn(console, "error").mockImplementation(() => undefined);
    render(<Card onClose={onClose} />);
    expect((await screen.findByRole("alert")).closest("dialog")?.open).toBe(true);
    cancel();
    expect(onClose).toHaveBeenCalledOnce();
    fireEvent.click(screen.getByRole("button", { name: /retry|again|ще раз/i }));
    expect(await screen.findByText("loaded")).toBeTruthy();
  });
});
