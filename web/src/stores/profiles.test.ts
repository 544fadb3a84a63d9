import { describe, expect, it } from "vitest";
import type { CurrentCitizen } from "../api/types";
import { withNames } from "../lib/mentions";
import { useProfiles } from "./profiles";

const ME: CurrentCitizen = {
  user_id: "u_1",
  display_name: "Оксана",
  avatar_url: null,
  status_text: null,
  matrix_user_id: null,
  ghost_user_id: "@citizen_u_1:city.example",
  subject: "u_1",
};

describe("the reader's own profile", () => {
  it("names the reader in a mention before the reader has written anything", () => {
    useProfiles.getState().addMe(ME);
    expect(withNames("@citizen_u_1:city.example, добрий день", useProfiles.getState().profiles).text).toBe(
      "@Оксана, добрий день",
    );
  });

  it("has the id of a linked account", () => {
    const linked = { ...ME, matrix_user_id: "@oksana:city.example", subject: "@oksana:city.example" } as const;
    useProfiles.getState().addMe(linked);
    expect(useProfiles.getState().profiles["@oksana:city.example"]?.matrixId).toBe("@oksana:city.example");
  });
});
