/** The people that `deno task seed` makes, and what they say. */

/** Somebody to log in as. */
export interface SeedPerson {
  readonly userId: string;
  readonly displayName: string;
  readonly mobile: string;
  readonly gender: 1 | 2;
}

/** What two people said to each other, once. */
export interface SeedTalk {
  /** Part of every clientMessageId; changing it says everything again. */
  readonly name: string;
  readonly between: readonly [string, string];
  /** `>` from the first, `<` from the second. */
  readonly lines: readonly string[];
  /** Whether the first one has read it. */
  readonly read: boolean;
}

/** The first one has a conversation with everybody. */
export const PEOPLE: readonly SeedPerson[] = [
  { userId: "seed-linxia", displayName: "林夏", mobile: "13800000001", gender: 2 },
  { userId: "seed-alice", displayName: "Alice Moreau", mobile: "13800000002", gender: 2 },
  { userId: "seed-chenmo", displayName: "陈默", mobile: "13800000003", gender: 1 },
  { userId: "seed-bob", displayName: "Bob Okafor", mobile: "13800000004", gender: 1 },
  { userId: "seed-wangyue", displayName: "王月", mobile: "13800000005", gender: 2 },
  { userId: "seed-mateo", displayName: "Mateo Ruiz", mobile: "13800000006", gender: 1 },
];

const SHORT: readonly SeedTalk[] = [
  {
    name: "hike",
    between: ["seed-linxia", "seed-chenmo"],
    read: true,
    lines: [
      "< 周六爬山还去吗？天气预报说上午多云，下午转晴。",
      "> 去！我已经把鞋刷好了。",
      "< 几点集合？",
      "> 七点，西山口地铁站 B 口。带两瓶水就够，山顶有小卖部。",
      "< 七点……我尽量 😅",
      "> 你上次也是这么说的，结果八点半才到。",
      "< 那次是地铁坏了！真的！",
      "> 好好好，这次我六点半给你打电话。",
      "< 对了，王月说她也想来，她认识一条人少的路线：从北坡上，经过水库，比主路多走四十分钟左右，但是沿路都是枫树，" +
      "这个季节应该全红了。下山可以坐缆车，也可以走石阶，看大家的体力。",
      "> 太好了，那就北坡。",
      "< 收到 ✅",
    ],
  },
  {
    name: "release",
    between: ["seed-linxia", "seed-alice"],
    read: true,
    lines: [
      "< Morning! Did the nightly build go through?",
      "> It did, all green. 214 tests, 31 seconds.",
      "< Lovely. Then I'd like to tag the release before lunch.",
      "> Wait for me, there is one thing in the changelog I want to reword.",
      "< Sure. Which one?",
      '> "Fixed a bug where messages could be lost" frightens people. It was the typing indicator.',
      '< 😂 Fair. How about: "The typing indicator no longer stays on after a reconnect."',
      "> Perfect.",
      "< Pushed. Could you have a look at the diff?\nhttps://example.com/changes/481",
      "> Looking now.",
      "> Two small remarks, nothing blocking.",
      "< Thanks, both done. Tagging at 11:30 then.",
      "> 🎉",
    ],
  },
  {
    name: "recipe",
    between: ["seed-wangyue", "seed-linxia"],
    read: true,
    lines: [
      "< 你昨天带来的那个凉面是怎么做的？大家都在问我。",
      "> 很简单，酱汁才是关键：\n1. 芝麻酱两勺，用温水慢慢调开\n2. 生抽一勺、香醋一勺、糖半勺\n3. 蒜末，一点点花椒油\n4. 最后淋辣椒油",
      "< 面要过凉水吗？",
      "> 要，过两遍，然后拌一点香油防止粘住。",
      "< 黄瓜丝我会，鸡丝怎么撕得那么细？",
      "> 用叉子 🍴",
      "< 原来如此！周末试试。",
      "> 做好了给我看照片。",
    ],
  },
  {
    name: "chinese-words",
    between: ["seed-mateo", "seed-linxia"],
    read: true,
    lines: [
      "> Quick question about Chinese: what is the difference between 会 and 能?",
      "< 会 is something you learned, 能 is something you are able to do right now.",
      "> So 我会游泳, but 今天我不能游泳, because the pool is closed?",
      "< Exactly 👏",
      "> And 可以?",
      "< Permission, mostly. 可以游泳 = swimming is allowed here.",
      "> 明白了，谢谢老师！",
      "< 不客气，学费是一杯咖啡 ☕",
    ],
  },
  {
    name: "bicycle",
    between: ["seed-bob", "seed-alice"],
    read: true,
    lines: [
      "> Is the blue bicycle in the hall yours?",
      "< It is, sorry! I'll move it.",
      "> No need, I only wanted to say that the rear tyre is flat.",
      "< Oh no. Do you have a pump?",
      "> In the cellar, on the shelf left of the door. Bring it back, the last one never returned.",
      "< You are a hero.",
    ],
  },
  {
    name: "snippet",
    between: ["seed-chenmo", "seed-alice"],
    read: true,
    lines: [
      "> Does this look right to you?\n\nfor await (const entry of client.entries()) {\n  if (entry.seq === cursor + 1n) apply(entry);\n}",
      "< Almost: what when entry.seq is greater?",
      "> Then something is missing … and I should pull.",
      "< Right, that is the whole rule. Equal: apply, greater: pull, smaller: ignore.",
      "> 三行代码的事，谢谢 🙏",
    ],
  },
  {
    name: "concert",
    between: ["seed-linxia", "seed-bob"],
    read: false,
    lines: [
      "< Hi! The string quartet I told you about plays on Thursday, eight o'clock, in the small hall.",
      "< I have two tickets left, row four.",
      "< Schubert first, then something new by a composer from Chengdu, I forget the name.",
      "< Tell me by tonight, otherwise they go to my sister, who falls asleep during slow movements. 😴",
    ],
  },
  {
    name: "cat",
    between: ["seed-linxia", "seed-wangyue"],
    read: false,
    lines: [
      "< 在吗？",
      "< 我下周三到周五出差，能不能帮我喂两天猫？",
      "< 它很乖，早晚各一勺，水满上就行。钥匙我放在门卫那里。",
      "< 对了，它叫年糕 🐈",
    ],
  },
];

const SENTENCES: readonly string[] = [
  "Good morning!",
  "早上好",
  "How was the weekend?",
  "爬了山，腿还在疼 😂",
  "The coffee machine is making that noise again.",
  "它大概也不想上班。",
  "I moved our meeting to three o'clock, is that all right?",
  "可以，我两点半有个电话，应该来得及。",
  "Could you send me the numbers from last week?",
  "已经发到你邮箱了，第二张表是汇总。",
  "Found them, thank you.",
  "有一列的单位好像不对，应该是毫秒，不是秒。",
  "You're right. Fixed.",
  "那就没问题了 👍",
  "Lunch?",
  "今天吃什么？楼下新开了一家云南米线。",
  "Sounds good. Ten minutes?",
  "好，电梯口见。",
  "By the way, the parcel at the reception is for you.",
  "终于到了，是我的新键盘！",
];

const LONG_LINES = 400;

/** Long enough to scroll through. */
const LONG: SeedTalk = {
  name: "every-day",
  between: ["seed-linxia", "seed-mateo"],
  read: true,
  lines: Array.from({ length: LONG_LINES }, (_, i) => {
    const day = Math.floor(i / SENTENCES.length) + 1;
    const text = i % SENTENCES.length === 0
      ? `Day ${day}. ${SENTENCES[0]}`
      : SENTENCES[i % SENTENCES.length]!;
    return `${i % 2 === 0 ? "<" : ">"} ${text}`;
  }),
};

/** In the order of their last message, the newest at the end. */
export const TALKS: readonly SeedTalk[] = [LONG, ...SHORT];
