#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "flops/models/training.hpp"

int main(int argc, char** argv) {
  flops::models::configure_runtime(1);
  return doctest::Context(argc, argv).run();
}
