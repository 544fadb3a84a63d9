import { Suspense } from "react";
import { matchPath, Route, Routes, useMatch } from "react-router";
import { Skeleton } from "./components/ui/Notice";
import { preloadPane, Shell } from "./features/layout/Shell";
import { lazyPage, usePrefetchedPages } from "./components/lazyPage";
import { NotFoundPage } from "./features/layout/NotFoundPage";

const HomePage = lazyPage(() => import("./features/home/HomePage"));
const CityRoomsPage = lazyPage(() => import("./features/city/rooms/CityRoomsPage"));
const CityRoomView = lazyPage(() => import("./features/city/rooms/CityRoomView"));
const SecondMePage = lazyPage(() => import("./features/secondme/SecondMePage"));
const AgentsPage = lazyPage(() => import("./features/agents/AgentsPage"));
const AgentPage = lazyPage(() => import("./features/agents/AgentPage"));
const NodePage = lazyPage(() => import("./features/places/NodePage"));
const PlacesPage = lazyPage(() => import("./features/places/PlacesPage"));
const SearchPage = lazyPage(() => import("./features/search/SearchPage"));
const MicroDaoPage = lazyPage(() => import("./features/places/MicroDaoPage"));

const ROUTES = [
  { path: "/", Page: HomePage },
  { path: "/city", Page: CityRoomsPage },
  { path: "/city/:slug/:messageId?", Page: CityRoomView },
  { path: "/secondme", Page: SecondMePage },
  { path: "/agents", Page: AgentsPage },
  { path: "/agents/:id", Page: AgentPage },
  { path: "/search", Page: SearchPage },
  { path: "/places", Page: PlacesPage },
  { path: "/nodes/:nodeId", Page: NodePage },
  { path: "/microdao/:slug", Page: MicroDaoPage },
];

export function App() {
  usePrefetchedPages();
  return (
    <Shell>
      <Suspense fallback={<PageLoading />}>
        <Routes>
          {ROUTES.map(({ path, Page }) => (
            <Route key={path} path={path} element={<Page />} />
          ))}
          <Route path="*" element={<NotFoundPage />} />
        </Routes>
      </Suspense>
    </Shell>
  );
}

/** Load the page of a path, and the list of rooms if it is shown beside the page, so that the first render needs no fallback. */
export async function preloadPage(pathname: string): Promise<void> {
  const route = ROUTES.find(({ path }) => matchPath(path, pathname));
  await Promise.all([route?.Page.preload(), preloadPane(pathname)]);
}

/** The fallback while a page is loaded. For a room it has the height of a room, for which a narrow window hides the header. */
function PageLoading() {
  const isRoom = useMatch("/city/:slug/:messageId?") !== null;
  return (
    <div {...(isRoom && { "data-full-height": "room" })}>
      <Skeleton heights={[3, 10, 10]} />
    </div>
  );
}
