# gRPC and protobuf out of their archives: as shared libraries they are 40 with Abseil's, whose loading takes 20 ms of each start of podpass,
# also of the roles and verbs that call nobody by gRPC. OpenSSL and zlib stay shared, so that the system's updates reach them.
find_package(Protobuf REQUIRED)
pkg_check_modules(GRPC REQUIRED grpc++)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

set(names ${GRPC_STATIC_LIBRARIES})
list(REMOVE_DUPLICATES names)
list(REMOVE_ITEM names ssl crypto z dl rt atomic pthread)
set(archives)
foreach(name ${names} protobuf)
  find_library(ARCHIVE_${name} lib${name}.a REQUIRED)
  mark_as_advanced(ARCHIVE_${name})
  list(APPEND archives ${ARCHIVE_${name}})
endforeach()
list(JOIN archives "," archives)
add_library(grpc INTERFACE)
target_link_libraries(grpc INTERFACE $<LINK_GROUP:RESCAN,${archives}> OpenSSL::SSL ZLIB::ZLIB Threads::Threads)
