// testnode-rocksdb stands for a node whose database is RocksDB. See Usage.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>

#include "node.h"

namespace {

const char kUsage[] = R"(usage: testnode-rocksdb COMMAND --db DIR [flags]
  run     append blocks until SIGTERM or SIGINT    [--pid-file FILE] [--rate BYTES/s, 0: no limit] [--blocks N more, then end]
  check   recover, verify every block and record, print the head   [--read-only: change no file]
  fill    make a directory of about that size, settled and closed   --bytes N
  mutate  give that share of the state's records new values         --percent P
)";

volatile sig_atomic_t stopped = 0;

class UsageError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Flags = std::map<std::string, std::string>;

Flags ParseFlags(int argc, char** argv, const Flags& defaults) {
  Flags flags = defaults;
  for (int i = 2; i < argc; i++) {
    const std::string name = argv[i];
    auto flag = flags.find(name);
    if (flag == flags.end()) throw UsageError("unknown flag " + name);
    if (name == "--read-only") {
      flag->second = "yes";
    } else {
      if (++i == argc) throw UsageError(name + " wants a value");
      flag->second = argv[i];
    }
  }
  if (flags["--db"].empty()) throw UsageError("--db is missing");
  return flags;
}

double Number(const Flags& flags, const std::string& name) {
  const std::string& text = flags.at(name);
  char* end = nullptr;
  const double number = strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || number < 0) throw UsageError(name + " wants a number, not \"" + text + "\"");
  return number;
}

void PrintHead(const Node& node) {
  std::cout << "{\"height\":" << node.head().number << ",\"hash\":\"" << Hex(node.head().hash) << "\"}" << std::endl;
}

// The pid file appears when the node has written its first block, and is
// renamed into place: whoever waits for it may read it at once.
void WritePid(const std::string& path) {
  if (path.empty()) return;
  const std::string temporary = path + ".new";
  std::ofstream(temporary) << getpid() << "\n";
  if (rename(temporary.c_str(), path.c_str()) != 0) throw std::runtime_error("write " + path);
}

void Run(const Flags& flags) {
  using Clock = std::chrono::steady_clock;
  const double rate = Number(flags, "--rate");
  const auto blocks = static_cast<uint64_t>(Number(flags, "--blocks"));
  signal(SIGTERM, [](int) { stopped = 1; });
  signal(SIGINT, [](int) { stopped = 1; });

  Node node(flags.at("--db"), {.create = true});
  const uint64_t first = node.head().number;
  node.Append();
  WritePid(flags.at("--pid-file"));
  auto due = Clock::now();  // of the next block; the time a node was paused is not made up for
  auto said = due;
  while (!stopped && (blocks == 0 || node.head().number - first < blocks)) {
    const size_t written = node.Append();
    const auto now = Clock::now();
    if (now - said >= std::chrono::seconds(1)) {
      PrintHead(node);
      said = now;
    }
    if (rate > 0) {
      const std::chrono::duration<double> pace(static_cast<double>(written) / rate);
      due = std::max(due, now) + std::chrono::duration_cast<Clock::duration>(pace);
      std::this_thread::sleep_until(due);
    }
  }
  PrintHead(node);
  if (!flags.at("--pid-file").empty()) unlink(flags.at("--pid-file").c_str());
}

void Check(const Flags& flags) {
  Node node(flags.at("--db"), {.read_only = !flags.at("--read-only").empty()});
  node.Check();
  PrintHead(node);
}

// Grow appends blocks until the directory has about that size. It settles by
// portions: what is still in memory has no size on disk.
void Grow(Node* node, uint64_t want) {
  for (uint64_t size = node->SizeOnDisk(); size < want - want / 100; size = node->SizeOnDisk()) {
    for (uint64_t written = 0; written < want - size;) written += node->Append();
    node->Settle();
  }
}

// Churn mutates in portions that are each flushed, as over a day: only then is
// there something to compact.
uint64_t Churn(Node* node, double percent) {
  constexpr int kPortions = 5;
  uint64_t changed = 0;
  for (int i = 0; i < kPortions; i++) {
    changed += node->Mutate(percent / kPortions);
    node->Settle();
  }
  return changed;
}

void Fill(const Flags& flags) {
  const auto want = static_cast<uint64_t>(Number(flags, "--bytes"));
  Node node(flags.at("--db"), {.create = true, .log = false});
  // Without a past the upper levels would be empty and take a day's changes
  // without rewriting anything, which no node that has run for a while does.
  Grow(&node, want / 10 * 9);
  Churn(&node, 15);
  Grow(&node, want);
  PrintHead(node);
}

void Mutate(const Flags& flags) {
  Node node(flags.at("--db"), {});
  const uint64_t changed = Churn(&node, Number(flags, "--percent"));
  std::cerr << changed << " of " << node.head().records << " records changed" << std::endl;
  PrintHead(node);
}

struct Command {
  Flags flags;
  void (*run)(const Flags&);
};

const std::map<std::string, Command> kCommands = {
    {"run", {{{"--db", ""}, {"--pid-file", ""}, {"--rate", "8388608"}, {"--blocks", "0"}}, Run}},
    {"check", {{{"--db", ""}, {"--read-only", ""}}, Check}},
    {"fill", {{{"--db", ""}, {"--bytes", "2147483648"}}, Fill}},
    {"mutate", {{{"--db", ""}, {"--percent", "5"}}, Mutate}},
};

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto command = argc < 2 ? kCommands.end() : kCommands.find(argv[1]);
    if (command == kCommands.end()) throw UsageError("no such command");
    command->second.run(ParseFlags(argc, argv, command->second.flags));
    return 0;
  } catch (const UsageError& e) {
    std::cerr << "testnode-rocksdb: " << e.what() << "\n" << kUsage;
    return 2;
  } catch (const std::exception& e) {
    std::cerr << "testnode-rocksdb: error: " << e.what() << std::endl;
    return 1;
  }
}
