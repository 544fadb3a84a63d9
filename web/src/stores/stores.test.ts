import { beforeEach, describe, expect, it } from "vitest";
import { currentToken } from "../api/http";
import type { Agent, Status } from "../api/types";
import { OKSANA, TARAS, token } from "../testing/samples";
import { byKindAndName, useProfiles } from "./profiles";
import { countOnline, statusOf, usePresence } from "./presence";
import { initSession, useSession, startExternalSignIn } from "./session";

const is = (user_id: string, status: Status) => ({ user_id, status, status_msg: null, last_active_ago_ms: null });
const soon = Date.now() / 1000 + 3600;

describe("the presence store", () => {
  beforeEach(() => usePresence.setState({ online: {}, hasSnapshot: false }));

  it("applies the snapshot and each update", () => {
    expect(usePresence.getState().hasSnapshot).toBe(false);
    usePresence.getState().snapshot([is("u_1", "online"), is("u_2", "offline")]);
    usePresence.getState().updates([is("agent:varta", "away"), is("u_1", "offline")]);
    const { online: here, hasSnapshot: isKnown } = usePresence.getState();
    expect(isKnown).toBe(true);
    expect(Object.keys(here)).toEqual(["agent:varta"]);
    expect([statusOf(here, "agent:varta"), statusOf(here, "u_1")]).toEqual(["away", "offline"]);
  });

  it("drops subjects that a new snapshot lacks", () => {
    usePresence.getState().snapshot([is("u_1", "online")]);
    usePresence.getState().snapshot([is("u_2", "online")]);
    expect(Object.keys(usePresence.getState().online)).toEqual(["u_2"]);
  });

  it("counts subjects by kind", () => {
    usePresence.getState().snapshot([is("u_1", "online"), is("agent:varta", "away"), is("@olena:city", "online")]);
    expect(countOnline(Object.keys(usePresence.getState().online))).toEqual({ citizens: 1, agents: 1, people: 1, total: 3 });
  });
});

describe("the profile store", () => {
  it("keeps profiles, and notifies only of changes", () => {
    useProfiles.setState({ profiles: {} });
    useProfiles.getState().addAgents([{ slug: "varta", display_name: "Varta", color: "#0f766e", matrix_user_id: "" } as Agent]);
    useProfiles.getState().addAuthors([{ ...OKSANA, kind: "agent", id: "varta", display_name: "Варта" }]);
    expect(useProfiles.getState().profiles["agent:varta"]).toEqual({
      name: "Варта",
      color: "#0f766e",
      avatarUrl: null,
      matrixId: OKSANA.matrix_user_id,
    });
    const before = useProfiles.getState().profiles;
    useProfiles.getState().addAuthors([{ ...OKSANA, kind: "agent", id: "varta", display_name: "Варта" }]);
    expect(useProfiles.getState().profiles).toBe(before);
  });

  it("keeps the name of presence over that of earlier messages", () => {
    useProfiles.setState({ profiles: {} });
    useProfiles.getState().addPresences([{ ...is("u_1", "online"), display_name: "Oksana K.", avatar_url: "/face" }]);
    useProfiles.getState().addAuthors([OKSANA]);
    useProfiles.getState().addCitizen("u_1", "Oksana");
    expect(useProfiles.getState().profiles.u_1).toMatchObject({
      name: "Oksana K.",
      avatarUrl: "/face",
      matrixId: OKSANA.matrix_user_id,
    });
    useProfiles.getState().addAuthors([{ ...OKSANA, display_name: "Oksana P." }], true);
    expect(useProfiles.getState().profiles.u_1?.name).toBe("Oksana P.");
  });

  it("keeps the profile of a subject whose presence has no name", () => {
    useProfiles.setState({ profiles: {} });
    useProfiles.getState().addAuthors([OKSANA]);
    useProfiles.getState().addPresences([{ ...is("u_1", "online"), display_name: null, avatar_url: null }]);
    expect(useProfiles.getState().profiles.u_1?.name).toBe(OKSANA.display_name);
  });

  it("lists people before agents, by name", () => {
    useProfiles.setState({ profiles: {} });
    useProfiles.getState().addAuthors([TARAS, OKSANA]);
    const { profiles } = useProfiles.getState();
    expect(["agent:varta", "u_2", "@olena:city", "u_1"].sort(byKindAndName(profiles))).toEqual([
      "u_1",
      "u_2",
      "@olena:city",
      "agent:varta",
    ]);
  });
});

describe("the session store", () => {
  beforeEach(() => {
    localStorage.clear();
    sessionStorage.clear();
    useSession.setState({ session: null, isExpired: false, isSignInOpen: false });
  });

  it("takes the token from the address and removes it there", () => {
    const jwt = token({ sub: "u_1", name: "Оксана", exp: soon });
    history.replaceState(null, "", `/city/general#token=${jwt}`);
    startExternalSignIn();
    initSession();
    expect(location.hash).toBe("");
    expect(useSession.getState().session?.displayName).toBe("Оксана");
    expect(currentToken()).toBe(jwt);
  });

  it("ignores a token in a link that it did not request", () => {
    history.replaceState(null, "", `/city/general#token=${token({ sub: "u_evil", exp: soon })}`);
    initSession();
    expect(location.hash).toBe("");
    expect(useSession.getState()).toMatchObject({ session: null, isSignInOpen: true });
  });

  it("ends when the token is refused, and asks to sign in", () => {
    const [first, second] = [token({ sub: "u_1", exp: soon }), token({ sub: "u_1", exp: soon + 1 })];
    useSession.getState().signIn(first);
    useSession.getState().signIn(second);
    useSession.getState().expire(first);
    expect(useSession.getState().session?.token).toBe(second);
    useSession.getState().expire(second);
    expect(useSession.getState()).toMatchObject({ session: null, isExpired: true, isSignInOpen: true });
  });

  it("keeps the linked account of its own citizen only", () => {
    const [oksana, taras] = [token({ sub: "u_1", exp: soon }), token({ sub: "u_2", exp: soon })];
    const { signIn, signOut, setSubject } = useSession.getState();
    signIn(oksana);
    expect(useSession.getState().subject).toBe("u_1");
    setSubject("u_2", "@taras:example.org");
    expect(useSession.getState().subject).toBe("u_1");
    setSubject("u_1", "@oksana:example.org");
    expect(useSession.getState().subject).toBe("@oksana:example.org");
    signOut();
    expect(useSession.getState().subject).toBeNull();
    signIn(oksana);
    expect(useSession.getState().subject).toBe("@oksana:example.org");
    signIn(taras);
    expect(useSession.getState().subject).toBe("u_2");
  });

  it("ignores an invalid token", () => {
    expect(useSession.getState().signIn("nonsense")).toBe(false);
    expect(useSession.getState().session).toBeNull();
  });
});
