import { act, fireEvent, render, screen } from "@testing-library/react";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { initI18n, setLanguage } from "../../../lib/i18n";
import { isUnfinishedCommand } from "./commands";
import { DropTarget } from "./DropTarget";
import { Folded, isLong } from "./Folded";

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

describe("a long message", () => {
  it("is one with many characters or lines", () => {
    expect([isLong("a".repeat(1_800)), isLong("a\n".repeat(23))]).toEqual([false, false]);
    expect([isLong("a".repeat(1_801)), isLong("a\n".repeat(24))]).toEqual([true, true]);
  });

  it("unfolds by a button, and stays so in a new row", () => {
    const shown = render(<Folded id="m1">words</Folded>);
    const button = screen.getByRole("button", { name: "Show more" });
    expect(button.getAttribute("aria-expanded")).toBe("false");
    fireEvent.click(button);
    shown.unmount();
    render(<Folded id="m1">words</Folded>);
    expect(screen.getByRole("button", { name: "Show less" }).getAttribute("aria-expanded")).toBe("true");
  });
});

describe("an incomplete command", () => {
  it("is /m, /me and /me with spaces", () => {
    for (const text of ["/m", "/me", "/me  "]) expect(isUnfinishedCommand(text)).toBe(true);
    for (const text of ["/", "/me waves", "/mean", "/shrug", "m", " /me"]) expect(isUnfinishedCommand(text)).toBe(false);
  });
});

describe("files dragged over the conversation", () => {
  const drag = (type: string, types: string[], files: File[] = []) => {
    const event = new Event(type, { bubbles: true }) as Event & { dataTransfer: unknown; relatedTarget: null };
    event.dataTransfer = { types, files, getData: () => "" };
    event.relatedTarget = null;
    act(() => void screen.getByText("talk").dispatchEvent(event));
  };

  it("are announced until they are dropped, and dragged text is not", () => {
    const onFiles = vi.fn();
    render(
      <section data-drop="room">
        <p>talk</p>
        <DropTarget isThread={false} onFiles={onFiles} onText={() => undefined} />
      </section>,
    );
    drag("dragenter", ["text/plain"]);
    expect(screen.queryByText("Drop the files here")).toBeNull();
    drag("dragenter", ["Files"]);
    expect(screen.getByText("Drop the files here")).toBeTruthy();
    drag("drop", ["Files"], [new File(["a"], "a.txt")]);
    expect(onFiles).toHaveBeenCalledTimes(1);
    expect(screen.queryByText("Drop the files here")).toBeNull();
  });
});
