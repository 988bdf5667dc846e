#include "block.h"

#include <openssl/sha.h>

#include <cstring>

namespace {

constexpr int kStatePerBlock = 32;
constexpr int kBodyPieces = 32;
constexpr size_t kHeaderFixed = 8 + 32 + 32;

// Popular accounts come again in block after block. They lie too far apart for
// Snappy's 16 KiB blocks, so they are most of what zstd still finds in a node's
// database; their share is set so that it finds about 8 %.
constexpr uint64_t kAccounts = 512;
constexpr uint64_t kAccountPercent = 12;

// Piece appends a part of an extrinsic or a trie node.
void Piece(Random* random, std::string* out) {
  uint64_t kind = random->Next() % 100;
  if (kind < kAccountPercent) {
    Random account(kAccounts + random->Next() % kAccounts);
    account.Append(out, 32);
  } else if (kind < kAccountPercent + 5) {  // a balance: a small number in 16 bytes
    random->Append(out, 6);
    out->append(10, '\0');
  } else if (kind < kAccountPercent + 10) {  // compact integers: one byte of the low range each
    for (uint64_t bits = random->Next(), i = 0; i < 10; i++, bits >>= 6) out->push_back(static_cast<char>((bits & 0x3f) << 2));
  } else {  // a hash or a signature
    random->Append(out, 32 + 32 * (kind & 1));
  }
}

}  // namespace

Hash Sha256(std::string_view bytes) {
  Hash hash;
  SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), hash.data());
  return hash;
}

std::string Hex(const Hash& hash) {
  static const char digits[] = "0123456789abcdef";
  std::string out = "0x";
  for (uint8_t b : hash) {
    out.push_back(digits[b >> 4]);
    out.push_back(digits[b & 15]);
  }
  return out;
}

std::string_view View(const Hash& hash) { return {reinterpret_cast<const char*>(hash.data()), hash.size()}; }

std::string BigEndian(uint64_t number) {
  std::string out(8, '\0');
  for (int i = 7; i >= 0; i--, number >>= 8) out[i] = static_cast<char>(number);
  return out;
}

uint64_t FromBigEndian(std::string_view bytes) {
  uint64_t number = 0;
  for (char c : bytes.substr(0, 8)) number = number << 8 | static_cast<uint8_t>(c);
  return number;
}

Random::Random(uint64_t seed) : state_((seed + 1) * 0x9e3779b97f4a7c15ull) {}

uint64_t Random::Next() {
  state_ ^= state_ >> 12;
  state_ ^= state_ << 25;
  state_ ^= state_ >> 27;
  return state_ * 0x2545f4914f6cdd1dull;
}

void Random::Append(std::string* out, size_t size) {
  while (size > 0) {
    uint64_t word = Next();
    size_t n = size < sizeof word ? size : sizeof word;
    out->append(reinterpret_cast<const char*>(&word), n);
    size -= n;
  }
}

std::string Header::Encode() const {
  std::string out = BigEndian(number);
  out.append(View(parent)).append(View(body)).append(digest);
  return out;
}

bool Header::Decode(std::string_view bytes, Header* header) {
  if (bytes.size() < kHeaderFixed) return false;
  header->number = FromBigEndian(bytes);
  memcpy(header->parent.data(), bytes.data() + 8, 32);
  memcpy(header->body.data(), bytes.data() + 40, 32);
  header->digest = bytes.substr(kHeaderFixed);
  return true;
}

std::string StateValue(Random* random) {
  std::string value;
  size_t want = 128 + random->Next() % 256;
  while (value.size() < want) Piece(random, &value);
  return value;
}

Block MakeBlock(uint64_t number, const Hash& parent) {
  Random random(number << 20);
  Block block;
  for (int i = 0; i < kBodyPieces; i++) Piece(&random, &block.body);
  block.header.number = number;
  block.header.parent = parent;
  block.header.body = Sha256(block.body);
  random.Append(&block.header.digest, 64);
  block.hash = Sha256(block.header.Encode());
  for (int i = 0; i < kStatePerBlock; i++) {
    std::string key;
    random.Append(&key, 32);
    block.state.emplace_back(std::move(key), StateValue(&random));
  }
  return block;
}
