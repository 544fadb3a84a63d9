import { Suspense } from "react";
import { Route, Routes, useMatch } from "react-router";
import { Skeleton } from "./components/ui/Notice";
import { Shell } from "./features/layout/Shell";
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

export function App() {
  usePrefetchedPages();
  return (
    <Shell>
      <Suspense fallback={<PageLoading />}>
        <Routes>
          <Route path="/" element={<HomePage />} />
          <Route path="/city" element={<CityRoomsPage />} />
          <Route path="/city/:slug/:messageId?" element={<CityRoomView />} />
          <Route path="/secondme" element={<SecondMePage />} />
          <Route path="/agents" element={<AgentsPage />} />
          <Route path="/agents/:id" element={<AgentPage />} />
          <Route path="/search" element={<SearchPage />} />
          <Route path="/places" element={<PlacesPage />} />
          <Route path="/nodes/:nodeId" element={<NodePage />} />
          <Route path="/microdao/:slug" element={<MicroDaoPage />} />
          <Route path="*" element={<NotFoundPage />} />
        </Routes>
      </Suspense>
    </Shell>
  );
}

/** The place of a page while it is loaded. That of a room has the room's height, for which a narrow window hides the header. */
function PageLoading() {
  const isRoom = useMatch("/city/:slug/:messageId?") !== null;
  return (
    <div {...(isRoom && { "data-full-height": "room" })}>
      <Skeleton heights={[3, 10, 10]} />
    </div>
  );
}
