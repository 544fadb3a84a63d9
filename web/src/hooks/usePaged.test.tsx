import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { useDeferredValue, useLayoutEffect, useState } from "react";
import { MemoryRouter } from "react-router";
import { beforeEach, describe, expect, it } from "vitest";
import { MOUNTED_AT_ONCE, usePaged } from "./usePaged";

const PAGE = 48;
const ITEMS = Array.from({ length: 300 }, (_, number) => ({ id: `item ${number}` }));

/** The ids that the document shows after each commit of the list. */
let commits: string[][] = [];

function List() {
  const [searchText, setSearchText] = useState("");
  const filter = useDeferredValue(searchText);
  const found = ITEMS.filter(({ id }) => id.includes(filter));
  const { shown, hidden, showMore } = usePaged("items", found, filter, PAGE);
  useLayoutEffect(() => {
    commits.push(ids());
  });
  return (
    <>
      <input value={searchText} onChange={({ target }) => setSearchText(target.value)} />
      <ul>
        {shown.map(({ id }) => (
          <li key={id}>{id}</li>
        ))}
      </ul>
      <button onClick={showMore}>{hidden}</button>
    </>
  );
}

function ids(): string[] {
  return screen.queryAllByRole("listitem").map(({ textContent }) => textContent);
}

/** The most items that one commit added to those of the previous commit. */
function mostAdded(): number {
  return Math.max(...commits.slice(1).map((now, at) => now.filter((id) => !commits[at]?.includes(id)).length));
}

function search(words: string): void {
  fireEvent.change(screen.getByRole("textbox"), { target: { value: words } });
}

describe("a paged list", () => {
  beforeEach(() => {
    commits = [];
    sessionStorage.clear();
    render(<List />, { wrapper: MemoryRouter });
  });

  it("shows its first page in the first commit", () => {
    expect(commits[0]).toHaveLength(PAGE);
  });

  it("mounts a page in several commits during a search", async () => {
    search("item 29");
    await waitFor(() => expect(ids()).toHaveLength(11));
    search("item 2");
    await waitFor(() => expect(ids()).toHaveLength(PAGE));
    search("");
    await waitFor(() => expect(ids()).toEqual(ITEMS.slice(0, PAGE).map(({ id }) => id)));
    expect(mostAdded()).toBe(MOUNTED_AT_ONCE);
  });

  it("mounts the next page in several commits", async () => {
    fireEvent.click(screen.getByRole("button"));
    await waitFor(() => expect(ids()).toHaveLength(2 * PAGE));
    expect(mostAdded()).toBe(MOUNTED_AT_ONCE);
    expect(screen.getByRole("button").textContent).toBe(String(ITEMS.length - 2 * PAGE));
  });

  it("has as many pages after it was left", async () => {
    fireEvent.click(screen.getByRole("button"));
    await waitFor(() => expect(ids()).toHaveLength(2 * PAGE));
    cleanup();
    render(<List />, { wrapper: MemoryRouter });
    expect(ids()).toHaveLength(2 * PAGE);
  });

  it("appends pages at its end", async () => {
    search("item 1");
    await waitFor(() => expect(ids()).toHaveLength(PAGE));
    const before = commits.length;
    search("");
    await waitFor(() => expect(ids()).toHaveLength(PAGE));
    const wanted = ITEMS.slice(0, PAGE).map(({ id }) => id);
    await waitFor(() => expect(ids()).toEqual(wanted));
    // The first commit renders the search field only.
    for (const shown of commits.slice(before + 1)) expect(shown).toEqual(wanted.slice(0, shown.length));
  });
});
