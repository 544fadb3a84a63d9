import { render, screen } from "@testing-library/react";
import { beforeAll, describe, expect, it } from "vitest";
import { initI18n, setLanguage } from "../../lib/i18n";
import Markdown from "./Markdown";

beforeAll(async () => {
  await initI18n();
  await setLanguage("en");
});

describe("an answer of Second Me", () => {
  it("shows code in colours, with the text unchanged", async () => {
    const { container } = render(<Markdown text={'So:\n\n```python\ndef f():\n    return "<b>"\n```\n'} />);
    const keyword = await screen.findByText("def");
    expect(keyword.className).not.toBe("");
    expect(container.querySelector("pre")?.textContent).toBe('def f():\n    return "<b>"');
    expect(container.querySelector("b")).toBeNull();
  });

  it("keeps code without a language, and code in a line", () => {
    const { container } = render(<Markdown text={"`a`\n\n```\nplain <i>\n```"} />);
    expect(container.querySelector("pre")?.textContent).toBe("plain <i>");
    expect(container.querySelector("p code, code")?.textContent).toBe("a");
  });
});
