import { act, render } from "@testing-library/react";
import { createRef, type KeyboardEvent } from "react";
import { describe, expect, it, vi } from "vitest";
import type { Candidate } from "./completion";
import { CompletionList, type CompletionKeys } from "./CompletionList";

const candidates = vi.hoisted((): Candidate[] => []);
vi.mock("./useCandidates", () => ({ useCandidates: () => candidates }));

const candidate = (insert: string, target?: string): Candidate => ({
  id: insert,
  label: insert.slice(1),
  detail: "",
  insert,
  picture: null,
  ...(target !== undefined && { target }),
});

/** Render the list for a text; `press` returns whether the list handled the key. */
function write(written: string, ...shown: Candidate[]) {
  candidates.splice(0, candidates.length, ...shown);
  const keys = createRef<CompletionKeys>();
  const onChoose = vi.fn<(chosen: Candidate) => void>();
  const sign = written.charAt(0) as "@" | "/";
  const trigger = { sign, query: written.slice(1), start: 0, end: written.length };
  const none = () => undefined;
  render(<CompletionList id="list" trigger={trigger} ref={keys} onChoose={onChoose} onClose={none} onActive={none} />);
  const press = (key: string) => {
    let isTaken: boolean | undefined;
    act(() => {
      isTaken = keys.current?.press({ key, shiftKey: false } as KeyboardEvent);
    });
    return isTaken;
  };
  return { press, onChoose };
}

const ROOM = candidate("@room");
const ME = candidate("/me");

describe("Enter in a list of candidates", () => {
  it("sends a text that is complete already", () => {
    const { press, onChoose } = write("@room", candidate("@roomer", "@roomer:city"), ROOM);
    expect(press("Enter")).toBe(false);
    expect(onChoose).not.toHaveBeenCalled();
  });

  it("completes a partial text, and a name that stands for an id", () => {
    const part = write("@roo", ROOM);
    expect(part.press("Enter")).toBe(true);
    expect(part.onChoose).toHaveBeenCalledWith(ROOM);
    const taras = candidate("@Taras", "@taras:city");
    const name = write("@Taras", taras);
    expect(name.press("Enter")).toBe(true);
    expect(name.onChoose).toHaveBeenCalledWith(taras);
  });

  it("completes a partial command, and sends a slash alone", () => {
    for (const text of ["/m", "/me"]) {
      const { press, onChoose } = write(text, ME);
      expect(press("Enter")).toBe(true);
      expect(press("Tab")).toBe(true);
      expect(onChoose.mock.calls).toEqual([[ME], [ME]]);
    }
    expect(write("/", ME).press("Enter")).toBe(false);
  });

  it("takes the candidate selected by an arrow key", () => {
    const other = candidate("@roomer");
    const { press, onChoose } = write("@room", ROOM, other);
    press("ArrowDown");
    expect(press("Enter")).toBe(true);
    expect(onChoose).toHaveBeenCalledWith(other);
  });
});
