import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { useState } from "react";
import { Link, MemoryRouter, Route, Routes, useNavigate } from "react-router";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { useEntryState } from "./useEntryState";

function Field({ name }: { name: string }) {
  const [text, setText] = useEntryState(name, "");
  return <input aria-label={name} value={text} onChange={({ target }) => setText(target.value)} />;
}

function App() {
  const navigate = useNavigate();
  const [hasPane, setPane] = useState(true);
  return (
    <>
      {hasPane && <Field name="pane" />}
      <Routes>
        <Route path="/list" element={<Field name="list" />} />
        <Route path="*" element={null} />
      </Routes>
      <Link to="/list">list</Link>
      <Link to="/list#main">within</Link>
      <Link to="/other">other</Link>
      <button onClick={() => void navigate(-1)}>back</button>
      <button onClick={() => setPane(!hasPane)}>pane</button>
    </>
  );
}

const type = (name: string, value: string) => fireEvent.change(screen.getByLabelText(name), { target: { value } });
const press = (words: string) => fireEvent.click(screen.getByText(words));
const valueOf = (name: string) => screen.getByLabelText<HTMLInputElement>(name).value;

describe("the state of a history entry", () => {
  beforeEach(() => {
    sessionStorage.clear();
    render(
      <MemoryRouter initialEntries={["/list"]}>
        <App />
      </MemoryRouter>,
    );
  });
  afterEach(cleanup);

  it("is there again after Back, and initial in a new entry", () => {
    type("list", "a");
    press("other");
    press("list");
    expect(valueOf("list")).toBe("");
    press("back");
    press("back");
    expect(valueOf("list")).toBe("a");
  });

  it.each(["list", "within"])("stays after a link to the same page (%s), also after Back to it", (link) => {
    type("list", "a");
    press(link);
    expect(valueOf("list")).toBe("a");
    press("other");
    press("back");
    expect(valueOf("list")).toBe("a");
  });

  it("is that of the entry to which the reader comes back on the same page", () => {
    type("list", "a");
    press("within");
    type("list", "b");
    press("back");
    expect(valueOf("list")).toBe("a");
  });

  it("stays beside other pages", () => {
    type("pane", "a");
    press("other");
    type("pane", "b");
    press("back");
    expect(valueOf("pane")).toBe("b");
    press("pane");
    press("pane");
    expect(valueOf("pane")).toBe("b");
  });
});
