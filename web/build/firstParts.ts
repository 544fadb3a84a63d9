import type { FirstPart } from "./earlyScript.ts";

/** The modules that `lazyPage` in App.tsx and Shell.tsx loads at once, by path. */
export const firstParts: FirstPart[] = [
  { path: "^/$", module: "features/home/HomePage.tsx" },
  { path: "^/city$", module: "features/city/rooms/CityRoomsPage.tsx" },
  { path: "^/city/.", module: "features/city/rooms/CityRoomView.tsx" },
  { path: "^/city(/|$)", module: "features/city/rooms/RoomsPane.tsx", media: "(width >= 1100px)" },
  { path: "^/agents$", module: "features/agents/AgentsPage.tsx" },
  { path: "^/agents/.", module: "features/agents/AgentPage.tsx" },
  { path: "^/secondme$", module: "features/secondme/SecondMePage.tsx" },
  { path: "^/embed/", module: "features/embed/EmbedApp.tsx" },
];
