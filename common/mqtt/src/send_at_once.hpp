#pragma once

#include <cstdint>

namespace flops::mqtt {

// Turns Nagle's algorithm off for this process's connections to that port: otherwise the end of a message waits up to
// 40 ms for the other side's delayed acknowledgement. Paho before 1.3.14 has no option for it
// (eclipse-paho/paho.mqtt.c#530) and keeps its socket to itself, so it is found among the open files. Any thread.
void send_at_once(std::uint16_t broker_port);

}  // namespace flops::mqtt
