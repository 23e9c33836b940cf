# The targets, from the files that the including file names: an installed library's or one that cargo builds. Without
# the name of a static library there is no target for it.
if(NOT TARGET io_reactor::io_reactor)
  add_library(io_reactor::io_reactor SHARED IMPORTED ${_io_reactor_scope})
  set_target_properties(io_reactor::io_reactor PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${_io_reactor_include}"
    IMPORTED_LOCATION "${_io_reactor_shared}")
  if(WIN32)
    set_target_properties(io_reactor::io_reactor PROPERTIES
      IMPORTED_IMPLIB "${_io_reactor_import}"
      INTERFACE_LINK_LIBRARIES "ws2_32")
  else()
    set_target_properties(io_reactor::io_reactor PROPERTIES IMPORTED_SONAME "${_io_reactor_soname}")
  endif()
endif()

if(_io_reactor_static AND NOT TARGET io_reactor::static)
  add_library(io_reactor::static STATIC IMPORTED ${_io_reactor_scope})
  set_target_properties(io_reactor::static PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${_io_reactor_include}"
    IMPORTED_LOCATION "${_io_reactor_static}")
  if(WIN32)
    set_target_properties(io_reactor::static PROPERTIES
      INTERFACE_LINK_LIBRARIES "kernel32;ntdll;userenv;ws2_32;dbghelp")
  else()
    set_target_properties(io_reactor::static PROPERTIES
      INTERFACE_LINK_LIBRARIES "util;rt;pthread;m;dl")
  endif()
endif()

unset(_io_reactor_include)
unset(_io_reactor_shared)
unset(_io_reactor_soname)
unset(_io_reactor_import)
unset(_io_reactor_static)
unset(_io_reactor_scope)
