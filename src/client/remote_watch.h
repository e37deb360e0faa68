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
  api::Listing start;  // what its user knows; only the revision when more is not known
  std::function<void(const api::WatchEvent&)> changed;
};

// The coroutine runs on `pool`, which has one thread. The client and the credentials outlive it.
std::unique_ptr<api::Watching> startWatch(boost::asio::thread_pool& pool, http::Client& client, const Access& access,
                                          Credentials& credentials, WatchRequest request);

// One page after the other, until the last. Blocking-free version of RemoteClient::list.
boost::asio::awaitable<Result<api::Listing>> listAll(http::Client& client, const Access& access, Credentials& credentials,
                                                     const api::Kind& kind, std::string ns, api::Selectors selectors);

// How a request to that server is made.
http::FetchOptions optionsFor(const Access& access);
// Of a request that got no answer: says whose API server it was.
Error noAnswer(const Access& access, Error error);

}  // namespace podpass::client
