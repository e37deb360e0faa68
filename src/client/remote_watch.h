#pragma once

#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>

#include "api/client.h"
#include "client/remote_client.h"

namespace podpass::client {

struct WatchRequest {
  const api::Kind& kind;
  std::string ns;
  api::Selectors selectors;
  KnownObjects start;  // what its user knows, as far as that is known
  std::uint64_t since;
  std::function<void(const api::WatchEvent&)> changed;
};

// The coroutine runs on `pool`, which has one thread. The client and the credentials outlive it.
std::unique_ptr<api::Watching> startWatch(boost::asio::thread_pool& pool, http::Client& client, const Access& access,
                                          Credentials& credentials, WatchRequest request);

// One page after the other, until the last. Blocking-free version of RemoteClient::listInPages; `page` outlives it.
boost::asio::awaitable<Result<std::uint64_t>> listPages(http::Client& client, const Access& access, Credentials& credentials,
                                                        const api::Kind& kind, std::string ns, api::Selectors selectors,
                                                        const api::Client::Page& page);
// Adds what is to be known of it, or brings it up to date.
void know(KnownObjects& objects, const Document& object);

// How a request to that server is made.
http::FetchOptions optionsFor(const Access& access);
// Of a request that got no answer: says whose API server it was.
Error noAnswer(const Access& access, Error error);

}  // namespace podpass::client
