#include "http/address_rules.h"

#include <gtest/gtest.h>

namespace podpass::http {
namespace {

boost::asio::ip::address at(const char* text) { return boost::asio::ip::make_address(text); }

TEST(AddressRules, RefuseMetadataServicesHoweverTheyAreWritten) {
  const AddressRules rules;
  for (const char* refused : {"169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1", "fd00:ec2::254",
                              "fd20:ce::254", "100.100.100.200", "192.0.0.192", "0.0.0.0", "::", "224.0.0.1", "ff02::1"})
    EXPECT_FALSE(rules.allows(at(refused))) << refused;
  for (const char* allowed :
       {"127.0.0.1", "::1", "10.1.2.3", "192.0.2.1", "2001:db8::1", "fd00:ec2::253", "169.253.255.255", "169.255.0.0"})
    EXPECT_TRUE(rules.allows(at(allowed))) << allowed;
}

TEST(AddressRules, TheLongestPrefixDecides) {
  const AddressRules rules = *AddressRules::make({"10.1.0.0/16", "169.254.170.23", "fe80::/10", "2001:db8::/32"},
                                                 {"10.0.0.0/8", "10.1.2.0/24", "2001:db8::/32", "::/0"});
  struct Case {
    const char* why;
    const char* address;
    bool allowed;
  };
  const Case cases[] = {{"denied", "10.2.0.1", false},
                        {"a part is allowed", "10.1.0.1", true},
                        {"a part of the part is not", "10.1.2.255", false},
                        {"of two equal ones the refusal", "2001:db8::1", false},
                        {"given counts more than what is always so", "fe80::1", true},
                        {"one address of a refused network", "169.254.170.23", true},
                        {"its neighbour", "169.254.170.22", false},
                        {"all of IPv6", "2a00::1", false},
                        {"which is not IPv4", "192.0.2.1", true},
                        {"also when it is written as IPv6", "::ffff:192.0.2.1", true}};
  for (const Case& c : cases) EXPECT_EQ(rules.allows(at(c.address)), c.allowed) << c.why;
}

TEST(AddressRules, AStrangerLeadsNowhereNearer) {
  const AddressRules rules = *AddressRules::make({"10.1.0.0/16"}, {"192.0.2.0/24"});
  struct Case {
    const char* why;
    Reach from;
    const char* to;
    bool may;
  };
  const Case cases[] = {{"from the Internet to there", Reach::World, "2001:db8::1", true},
                        {"into a private network", Reach::World, "10.2.0.1", false},
                        {"unless it was allowed", Reach::World, "10.1.0.1", true},
                        {"to this machine", Reach::World, "127.0.0.1", false},
                        {"from the private network to itself", Reach::Network, "10.2.0.1", true},
                        {"from there to this machine", Reach::Network, "::1", false},
                        {"from this machine to anywhere", Reach::Machine, "127.0.0.1", true},
                        {"but not to what is refused", Reach::Machine, "192.0.2.1", false},
                        {"nor to the metadata service", Reach::Machine, "169.254.169.254", false}};
  for (const Case& c : cases) EXPECT_EQ(rules.mayLeadTo(at(c.to), c.from), c.may) << c.why;
}

TEST(AddressRules, AnAllowListIsADenialOfAllBesides) {
  const AddressRules rules = *AddressRules::make({"192.0.2.0/24"}, {"0.0.0.0/0", "::/0"});
  EXPECT_TRUE(rules.allows(at("192.0.2.9")));
  EXPECT_FALSE(rules.allows(at("127.0.0.1")));
  EXPECT_FALSE(rules.allows(at("::1")));
}

TEST(AddressRules, RefuseWhatIsNoCidr) {
  for (const char* bad : {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8x", "10.0.0/8", "example.com", "::/129", "fe80::1%eth0", "10.0.0.1/8",
                          "/8", "1.2.3.4/-1"}) {
    const Result<AddressRules> rules = AddressRules::make({bad}, {});
    ASSERT_FALSE(rules) << bad;
    EXPECT_EQ(rules.error().reason, Reason::BadRequest);
  }
}

TEST(AddressRules, KnowHowNearAnAddressIs) {
  EXPECT_EQ(reachOf(at("127.0.0.2")), Reach::Machine);
  EXPECT_EQ(reachOf(at("::ffff:127.0.0.1")), Reach::Machine);
  EXPECT_EQ(reachOf(at("192.168.1.1")), Reach::Network);
  EXPECT_EQ(reachOf(at("fd12::1")), Reach::Network);
  EXPECT_EQ(reachOf(at("64:ff9b::a00:1")), Reach::Network);
  EXPECT_EQ(reachOf(at("2001:db8::1")), Reach::World);
}

}  // namespace
}  // namespace podpass::http
