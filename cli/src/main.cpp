// flopsctl: the operator's and data scientist's command line.
#include "command_line.hpp"
#include "interruption.hpp"

int main(int argc, char** argv) {
  flops::cli::Interruption interruption;
  return flops::cli::run_command_line(argc, argv, interruption);
}
