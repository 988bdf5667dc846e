// What the node's blocks are made of. A block follows from its number and its
// parent's hash alone, so a directory of a given size is the same every time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using Hash = std::array<uint8_t, 32>;

Hash Sha256(std::string_view bytes);
std::string Hex(const Hash& hash);
std::string_view View(const Hash& hash);

// BigEndian is the key of a block number: sorted as the numbers are.
std::string BigEndian(uint64_t number);
uint64_t FromBigEndian(std::string_view bytes);

// Random is a small fast generator (xorshift*). Its bytes do not compress.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t Next();
  void Append(std::string* out, size_t size);

 private:
  uint64_t state_;
};

// Header is 8 bytes of number, the parent's hash, the body's hash and a digest.
struct Header {
  uint64_t number = 0;
  Hash parent{};
  Hash body{};
  std::string digest;

  std::string Encode() const;
  static bool Decode(std::string_view bytes, Header* header);
};

struct Block {
  Header header;
  Hash hash{};
  std::string body;
  std::vector<std::pair<std::string, std::string>> state;  // trie nodes by their hash, as a node stores them
};

Block MakeBlock(uint64_t number, const Hash& parent);

// StateValue looks like an encoded trie node: mostly hashes, now and then an
// account that many blocks name, small integers and padding.
std::string StateValue(Random* random);
