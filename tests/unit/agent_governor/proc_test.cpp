#include <doctest/doctest.h>

#include <string>

#include "proc.hpp"

using namespace flops::agent;

TEST_CASE("proc: the line of all processors, in the forms that kernels write") {
  struct Row {
    const char* name;
    std::string text;
    std::optional<CpuTimes> times;
  };
  for (const Row& row :
       {Row{"all columns", "cpu  10 20 30 400 5 6 7 80 9 9\ncpu0 1 2 3 4\n", CpuTimes{558, 73, 0}},
        Row{"without steal", "cpu 10 20 30 400 5 6 7\n", CpuTimes{478, 73, 0}}, Row{"empty", "", {}},
        Row{"another line", "cpu0 10 20 30 400 5 6 7 80\n", {}}, Row{"too few", "cpu 10 20 30 400\n", {}},
        Row{"text", "cpu 10 20 30 x 5 6 7 80\n", {}}, Row{"negative", "cpu 10 20 30 -4 5 6 7 80\n", {}},
        Row{"too large a number", "cpu 10 20 30 99999999999999999999 5 6 7 80\n", {}},
        Row{"a sum that does not fit", "cpu 18446744073709551615 20 30 4 5 6 7 80\n", {}},
        Row{"zeros", std::string(100, '\0'), {}}, Row{"long", "cpu " + std::string(1'000'000, '1'), {}}}) {
    CAPTURE(row.name);
    CHECK(proc::cpu_times(row.text) == row.times);
  }
}

TEST_CASE("proc: the time of a process counts its ended children, whatever it is called") {
  const std::string rest = "S 1 1 1 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 12345\n";
  struct Row {
    const char* name;
    std::string text;
    std::optional<std::uint64_t> ticks;
  };
  for (const Row& row :
       {Row{"plain", "17 (flops-agent) " + rest, 127}, Row{"a name with all", "17 (a) S) 1\n(b) " + rest, 127},
        Row{"empty", "", {}}, Row{"no name", "17 " + rest, {}},
        Row{"cut short", "17 (x) S 1 1 1 0 -1 0 1 2 3 4 100 20", {}},
        Row{"text", "17 (x) S 1 1 1 0 -1 0 1 2 3 4 100 y 3 4", {}}, Row{"nothing after it", "17 (x)", {}}}) {
    CAPTURE(row.name);
    CHECK(proc::process_ticks(row.text) == row.ticks);
  }
}

TEST_CASE("proc: memory pressure is the first average of 'some'") {
  struct Row {
    const char* text;
    std::optional<double> percent;
  };
  for (const Row& row :
       {Row{"some avg10=12.50 avg60=1.00 avg300=0.10 total=123\nfull avg10=9.00 avg60=0 avg300=0 total=1\n", 12.5},
        Row{"some avg10=0.00", 0}, Row{"some avg10=100.00", 100}, Row{"", {}}, Row{"full avg10=1.00", {}},
        Row{"some", {}}, Row{"some avg60=1.00", {}}, Row{"some avg10=", {}}, Row{"some avg10=nan", {}},
        Row{"some avg10=inf", {}}, Row{"some avg10=-1", {}}, Row{"some avg10=101", {}}, Row{"some avg10=1x", {}}}) {
    CAPTURE(row.text);
    CHECK(proc::memory_pressure(row.text) == row.percent);
  }
}

TEST_CASE("proc: the default route with the lowest metric decides, that of IPv4 first") {
  const std::string header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
  const auto route = [](const std::string& name, const char* to, const char* flags, const char* metric,
                        const char* mask) {
    return name + "\t" + to + "\t010200C0\t" + flags + "\t0\t0\t" + metric + "\t" + mask + "\t0\t0\t0   \n";
  };
  const std::string zeros(32, '0');
  const auto route6 = [&](const std::string& name, const char* prefix, const char* metric, const char* flags) {
    return zeros + " " + prefix + " " + zeros + " 00 " + zeros + " " + metric + " 00000001 00000000 " + flags +
           "     " + name + "\n";
  };
  const std::string ipv6 = route6("lo", "00", "ffffffff", "00200200") + route6("wlan0", "00", "00000400", "00000003") +
                           route6("wwan0", "00", "00000300", "00000003") + route6("eth1", "40", "00000001", "00000001");
  const char* any = "00000000";
  struct Row {
    const char* name;
    std::string route;
    std::string ipv6_route;
    std::optional<std::string> interface;
  };
  for (const Row& row :
       {Row{"none", "", "", {}}, Row{"one", header + route("eth0", any, "0003", "0", any), ipv6, "eth0"},
        Row{"the cheaper", header + route("wwan0", any, "0003", "700", any) + route("wlan0", any, "0003", "600", any),
            ipv6, "wlan0"},
        Row{"only a network", header + route("eth0", "000200C0", "0001", "0", "00FFFFFF"), "", {}},
        Row{"half of everything", header + route("tun0", any, "0003", "0", "00000080"), "", {}},
        Row{"down", header + route("eth0", any, "0002", "0", any), "", {}},
        Row{"rejected", header + route("eth0", any, "0203", "0", any), "", {}}, Row{"only IPv6", header, ipv6, "wwan0"},
        Row{"a name that is none", header + route("e\x1b[1m", any, "0003", "0", any), "", {}},
        Row{"a name too long", header + route(std::string(200, 'e'), any, "0003", "0", any), "", {}},
        Row{"garbage",
            "\t\t\n\n \x01 00000000\n" + std::string(5000, ' ') + "\n" + std::string(5000, 'x'),
            std::string(10'000, '0'),
            {}}}) {
    CAPTURE(row.name);
    CHECK(proc::default_interface(row.route, row.ipv6_route) == row.interface);
  }
}

TEST_CASE("proc: no text makes trouble") {
  const std::string alphabet = "cpu some avg10= 0123456789()\n\t.xS-eth00000000\xFF";
  std::uint32_t state = 7;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = round % 3 == 0 ? "cpu " : round % 3 == 1 ? "some avg10=" : "1 (";
    for (int i = 0; i < round % 97; ++i) {
      state = state * 1'664'525U + 1'013'904'223U;
      text += alphabet[(state >> 16U) % alphabet.size()];
    }
    (void)proc::cpu_times(text);
    (void)proc::process_ticks(text);
    if (const auto percent = proc::memory_pressure(text)) {
      CHECK(*percent <= 100);
    }
    (void)proc::default_interface(text, text);
  }
}
