# A CMake toolchain: the clang of the PyPI package ziglang, which has the C libraries of other systems, for the target
# NNFAST_TARGET, such as aarch64-linux-gnu. `make cross` and `make lint-c` use it.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES NNFAST_TARGET)
string(REPLACE - ";" target ${NNFAST_TARGET})
list(GET target 0 CMAKE_SYSTEM_PROCESSOR)
list(GET target 1 system)
set(systems linux Linux windows Windows macos Darwin)
list(FIND systems ${system} i)
math(EXPR i "${i} + 1")
list(GET systems ${i} CMAKE_SYSTEM_NAME)

# CMake wants one word for ar. zig's writes the index that ranlib would.
find_program(NNFAST_ZIG python-zig REQUIRED)
set(CMAKE_C_COMPILER ${NNFAST_ZIG} cc -target ${NNFAST_TARGET})
set(CMAKE_AR ${CMAKE_BINARY_DIR}/zig-ar)
set(CMAKE_RANLIB :)
file(CONFIGURE OUTPUT zig-ar CONTENT "#!/bin/sh\nexec ${NNFAST_ZIG} ar \"$@\"\n" @ONLY)
file(CHMOD ${CMAKE_AR} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)

# What runs its programs here; ctest puts it before each. Debian: qemu-user-static, libc6-arm64-cross, wine.
cmake_host_system_information(RESULT host QUERY OS_PLATFORM)
if(system STREQUAL "linux" AND CMAKE_SYSTEM_PROCESSOR STREQUAL host)
  return()
elseif(system STREQUAL "linux")
  find_program(NNFAST_EMULATOR qemu-${CMAKE_SYSTEM_PROCESSOR}-static qemu-${CMAKE_SYSTEM_PROCESSOR})
  set(CMAKE_CROSSCOMPILING_EMULATOR ${NNFAST_EMULATOR} -L /usr/${NNFAST_TARGET})
elseif(system STREQUAL "windows" AND CMAKE_SYSTEM_PROCESSOR STREQUAL host)
  find_program(NNFAST_EMULATOR wine)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_COMMAND} -E env WINEDEBUG=-all ${NNFAST_EMULATOR})
endif()
if(NOT NNFAST_EMULATOR)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_COMMAND} -E echo "not run, for nothing here runs ${NNFAST_TARGET}:")
endif()
